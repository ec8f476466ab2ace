"""What all rows begin with is read once, for models of every type that keep keys and values alone."""

from __future__ import annotations

import pytest
import torch
from support.contracts import NO_BRANCHES, branch_plan, droppable, factor_plan

from tapioca.engine.options import SweepInput
from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Batching, Schedule, sweep
from tapioca.evaluate.reading import find_shared_prefix
from tapioca.models.inputs import collate
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost

OTHER_PASTS = {
    "falcon_h1", "jamba", "lfm2", "mamba", "mamba2", "qwen3_5_text", "qwen3_next", "recurrent_gemma", "rwkv",
}  # fmt: skip
"""Types that keep recurrent or convolutional states."""

SHARE_KEYS = {"gemma3n_text", "gemma4_text"}
"""Types whose layers use one another's keys and values."""

READING = sorted(set(RECIPES) - {"vit"})
"""Types that read tokens."""

OPENED = [
    name
    for name in READING
    if name not in OTHER_PASTS | SHARE_KEYS and not any(part in name for part in ("bert", "t5"))
]
"""Types that read an opening apart: they look back alone, and keep nothing of the past but keys and values."""

OPENING = tuple(range(5, 25))
EQUAL = [(*OPENING, 30, 31, 32), (*OPENING, 40, 41, 7)]
UNEQUAL = [(*OPENING, 30, 31, 32, 33, 34, 35), (*OPENING, 40, 41, 7)]


@pytest.mark.parametrize("name", READING)
def test_which_types_read_an_opening_apart(name: str) -> None:
    model = tiny(name)
    assert (find_shared_prefix(model, EQUAL, 20, 2) is not None) == (name in OPENED)
    config = model.config.get_text_config()
    near = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    # a window of 8 counts padded places, which would stand between the opening and the rest
    assert (find_shared_prefix(model, UNEQUAL, 20, 2) is not None) == (name in OPENED and not near)


@pytest.mark.parametrize("way", ["single", "stacked"])
@pytest.mark.parametrize("name", OPENED)
def test_rows_behind_an_opening_give_the_outputs_of_whole_rows(name: str, way: Batching) -> None:
    model = tiny(name)
    opening = find_shared_prefix(model, EQUAL, 20, 2)
    assert opening
    plans = [
        Plan.full(4),
        *(Plan.drop(4, [layer]) for layer in droppable(name)),
        Plan.scale(4, {1: 0.5}),
        factor_plan(name),
    ]
    plans += [] if name in NO_BRANCHES else [branch_plan(name), branch_plan(name, last=False)]
    whole, behind = collate(model, EQUAL), opening.collate_rest([row[20:] for row in EQUAL])
    expected = dict(sweep(model, plans, SweepInput(whole, 2), Schedule(way="single")))
    for _ in range(2):  # read, then kept
        found = dict(sweep(model, plans, SweepInput(behind, 2, shared_prefix=opening), Schedule(way=way)))
        for plan in plans:
            atol = 2e-5 * float(expected[plan].abs().max())
            assert torch.allclose(found[plan], expected[plan], rtol=0, atol=atol), plan


def test_memory_and_known_states_change_nothing_behind_an_opening() -> None:
    model = tiny("llama")
    opening = find_shared_prefix(model, UNEQUAL, 20, 2)
    assert opening
    plans = [Plan.drop(4, [layer for layer in range(4) if mask >> layer & 1]) for mask in range(15)]
    behind, schedule = opening.collate_rest([row[20:] for row in UNEQUAL]), Schedule(state_cache=StateCache(2**24, 1))
    expected = dict(sweep(model, plans, SweepInput(behind, 2, shared_prefix=opening)))
    budget = Schedule(max_bytes=4 * (2 * 6 * 32 * 4) + 3 * 4 * opening.max_layer_bytes())
    for asked in (budget, schedule, schedule):
        found = dict(sweep(model, plans, SweepInput(behind, 2, shared_prefix=opening), asked))
        assert all(torch.equal(found[plan], expected[plan]) for plan in plans)


def test_an_opening_is_read_once_for_plans_that_begin_alike() -> None:
    model = tiny("llama")
    opening = find_shared_prefix(model, UNEQUAL, 20, 2)
    assert opening
    opening.layer_by_input.clear()
    plans = [Plan.drop(4, [layer]) for layer in range(4)]
    behind, counts = opening.collate_rest([row[20:] for row in UNEQUAL]), []
    for _ in range(2):
        count = ComputeCost()
        dict(sweep(model, plans, SweepInput(behind, 2, shared_prefix=opening), cost=count))
        counts.append((count.layers, count.tokens))
    # 9 layers are computed for 2 rows of 6 tokens, and first those of 1 row of 20 tokens: one more by the plan that
    # shows how much there is to keep, whose keys and values the others share
    assert counts == [(18 + 9, 9 * 12 + 9 * 20), (18, 9 * 12)]
