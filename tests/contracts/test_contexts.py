"""What the rows of a question begin with is read once, for models of every type that keep keys and values alone."""

from __future__ import annotations

import pytest
import torch
from support.contracts import NO_BRANCHES, branch_plan, droppable, factor_plan
from transformers import PreTrainedModel

from tapioca.engine.context_support import explain_whole_rows
from tapioca.engine.contexts import lay_out
from tapioca.engine.options import SweepInput
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Batching, Schedule, sweep
from tapioca.evaluate.reading import collate_contexts, reads_contexts
from tapioca.models.inputs import collate
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost

RECURRENT = {
    "falcon_h1", "jamba", "lfm2", "mamba", "mamba2", "qwen3_5_text", "qwen3_next", "recurrent_gemma", "rwkv",
}  # fmt: skip
SHARE_KEYS = {"gemma3n_text", "gemma4_text"}
BIDIRECTIONAL = {"bert", "distilbert", "modernbert", "roberta", "t5 (encoder)"}
READING = sorted(set(RECIPES) - {"vit"})
SHARING = [name for name in READING if name not in RECURRENT | SHARE_KEYS | BIDIRECTIONAL]

LONG, SHORT = tuple(range(5, 25)), tuple(range(40, 52))  # longer than the windows of 8, by more than a window
QUESTIONS = [
    [(*LONG, 30, 31, 32, 33), (*LONG, 34), (*LONG, 30, 35, 36), LONG],
    [(*SHORT, 60, 61), (*SHORT, 60, 61), (*SHORT, 62, 63)],
]
WANTED = [5, 2, 4, 1, 3, 3, 3]
"""Outputs from the last token of a context on: those that answers are predicted by."""


def whole(model: PreTrainedModel, prefix: SharedPrefix | None = None) -> SweepInput:
    rows = [row for rows in QUESTIONS for row in rows]
    return SweepInput(prefix.collate_rest(rows) if prefix else collate(model, rows), 5, shared_prefix=prefix)


def split(model: PreTrainedModel, name: str = "", prefix: SharedPrefix | None = None) -> SweepInput:
    layout = lay_out(QUESTIONS)
    assert layout
    return collate_contexts(model, layout, WANTED, name, prefix)


def plans_for(name: str) -> list[Plan]:
    plans = [
        Plan.full(4),
        *(Plan.drop(4, [layer]) for layer in droppable(name)),
        Plan.scale(4, {1: 0.5}),
        factor_plan(name),
    ]
    return plans + ([] if name in NO_BRANCHES else [branch_plan(name), branch_plan(name, last=False)])


def assert_same(found: dict[Plan, torch.Tensor], expected: dict[Plan, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for plan, rows in expected.items():
        atol = 2e-5 * float(rows.abs().max())
        for row, expected_row, count in zip(found[plan], rows, WANTED, strict=True):
            assert torch.allclose(row[-count:], expected_row[-count:], rtol=0, atol=atol), plan


def test_rows_are_split_into_contexts_and_continuations_of_similar_length() -> None:
    layout = lay_out(QUESTIONS)
    assert layout
    assert layout.contexts == (LONG, SHORT)
    assert layout.groups == (
        ((0, (30, 31, 32, 33)), (0, (30, 35, 36))),
        ((1, (60, 61)), (1, (62, 63))),
        ((0, (34,)),),
    )
    assert layout.n_tokens == 2 * 20 + 2 * 4 + 2 * 2 + 1
    assert layout.count_context_outputs(WANTED) == 1
    # two kept positions of contexts, then 2 x 4, 2 x 2 and 1 of continuations
    assert layout.find_sources(WANTED).tolist() == [
        [0, 2, 3, 4, 5], [0, 0, 0, 0, 14], [0, 0, 6, 7, 8], [0, 0, 0, 0, 0], [0, 0, 1, 10, 11], [0, 0, 1, 10, 11], [0, 0, 1, 12, 13],
    ]  # fmt: skip
    assert layout.find_sources([1] * 7)[:, 0].tolist() == [5, 14, 8, 0, 11, 11, 13]
    assert (
        layout.count_context_outputs([7] * 7) == 7
    )  # of the last row of the first question, which goes on with nothing
    assert lay_out([[(1, 2), (3, 2)]]) is None


def test_rows_that_are_the_same_are_one() -> None:
    layout = lay_out([[LONG, LONG], [SHORT, SHORT, SHORT]])
    assert layout
    assert (layout.groups, layout.n_tokens) == ((), 40)
    model = tiny("mamba")  # which any model can do: there is nothing to go on with
    found = dict(sweep(model, [Plan.full(4)], collate_contexts(model, layout, [1] * 5, "", None)))[Plan.full(4)]
    expected = dict(sweep(model, [Plan.full(4)], SweepInput(collate(model, [LONG, SHORT]), 1)))[Plan.full(4)]
    assert torch.equal(found, expected[[0, 0, 1, 1, 1]])


@pytest.mark.parametrize("name", READING)
def test_which_types_read_a_context_once(name: str) -> None:
    model = tiny(name)
    assert reads_contexts(model, QUESTIONS) == (name in SHARING)
    assert (explain_whole_rows(model) == "") == (name in SHARING)


@pytest.mark.parametrize("name", SHARING)
def test_rows_behind_their_context_give_the_outputs_of_whole_rows(name: str) -> None:
    model, plans = tiny(name), plans_for(name)
    expected = dict(sweep(model, plans, whole(model), Schedule(way="single")))
    ways: tuple[Batching, ...] = ("single", "stacked")
    for way in ways:
        assert_same(dict(sweep(model, plans, split(model), Schedule(way=way))), expected)


@pytest.mark.parametrize("way", ["single", "stacked"])
@pytest.mark.parametrize("name", ["llama", "bloom", "mixtral", "opt"])
def test_contexts_stand_behind_an_opening(name: str, way: Batching) -> None:
    model, plans = tiny(name), plans_for(name)
    opening = tuple(range(100, 118))
    prefix = SharedPrefix(model, opening)
    rows = collate(model, [opening + row for rows in QUESTIONS for row in rows])
    expected = dict(sweep(model, plans, SweepInput(rows, 5), Schedule(way="single")))
    for _ in range(2):  # read, then kept
        assert_same(dict(sweep(model, plans, split(model, prefix=prefix), Schedule(way=way))), expected)


def test_memory_and_known_states_change_nothing_behind_contexts() -> None:
    model = tiny("llama")
    plans = [Plan.drop(4, [layer for layer in range(4) if mask >> layer & 1]) for mask in range(15)]
    states, cost = StateCache(2**24, 1), ComputeCost()
    expected = dict(sweep(model, plans, split(model)))
    for schedule in (Schedule(max_bytes=4 * (40 + 8 + 4 + 1) * 32 * 4), *[Schedule(state_cache=states)] * 2):
        cost = ComputeCost()
        found = dict(sweep(model, plans, split(model, "batch"), schedule, cost))
        assert all(torch.equal(found[plan], expected[plan]) for plan in plans)
    assert cost.tokens == 8 * 53  # all is known but the last layer, which 8 plans keep


def test_what_is_computed_is_counted() -> None:
    model, plans, cost, whole_cost = (
        tiny("llama"),
        [Plan.drop(4, [layer]) for layer in range(4)],
        ComputeCost(),
        ComputeCost(),
    )
    dict(sweep(model, plans, split(model), cost=cost))
    dict(sweep(model, plans, whole(model), cost=whole_cost))
    assert whole_cost.tokens == 9 * 7 * 24
    assert cost.tokens == 9 * (40 + 8 + 4 + 1)  # 9 layers of a tree of four plans


@pytest.mark.parametrize("rope_type", ["dynamic", "longrope"])
def test_contexts_are_not_shared_where_positions_follow_the_longest_row(rope_type: str) -> None:
    model = tiny("phi3")
    model.config.rope_parameters = {"rope_type": rope_type, "original_max_position_embeddings": 64}
    assert explain_whole_rows(model, 64) == ""
    assert explain_whole_rows(model, 65) == "its positions are scaled by the length of what is read"
