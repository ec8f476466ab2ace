"""What a sweep computes, holds and refuses, on one small model; `tests/contracts/test_sweep.py` has every type."""

from __future__ import annotations

import re

import pytest
import torch
from support.scarce_memory import memory_for
from torch import nn
from transformers import PreTrainedModel

from tapioca.engine.layer_call import measure_relative_difference
from tapioca.engine.options import SweepInput
from tapioca.engine.state_cache import BatchStates, StateCache
from tapioca.engine.streams import Stream, Streams
from tapioca.engine.sweep import Batching, Schedule, sweep
from tapioca.errors import ModelError
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed, list_steps
from tapioca.records import ComputeCost

SINGLES = [Plan.full(4), *(Plan.drop(4, [layer]) for layer in range(4))]
EVERY = [Plan.drop(4, [layer for layer in range(4) if mask >> layer & 1]) for mask in range(15)]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny("llama")


@pytest.fixture(scope="module")
def batch(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return collate(model, [(5, 6, 7, 8, 9, 10, 11, 12), (40, 41, 42)])


@pytest.mark.parametrize("way", ["single", "stacked"])
@pytest.mark.parametrize(("plans", "streams"), [(SINGLES, 4), (EVERY, 8), (EVERY[:0:-1], 7)])
def test_shared_beginnings_are_computed_once(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], plans: list[Plan], streams: int, way: str
) -> None:
    """`streams` different hidden states reach the last layer; stacked, it runs them all at once."""
    rows = []
    for block in find_layers(model).blocks:
        norm = block.get_submodule("input_layernorm")
        norm.register_forward_hook(lambda _, args, output: rows.append(len(args[0])))
    try:
        assert len(dict(sweep(model, plans, SweepInput(batch, 1), Schedule(way=way)))) == len(plans)  # type: ignore[arg-type]
    finally:
        for block in find_layers(model).blocks:
            block.get_submodule("input_layernorm")._forward_hooks.clear()
    checks = 2 if way == "stacked" else 0  # stacked once more alone, the first time it meets these shapes
    assert sum(rows) - checks == 2 * count_layers_computed(tuple(plans))
    assert max(rows) == 2 * (1 if way == "single" else streams)


@pytest.mark.parametrize("streams", [2, 3, 5])
def test_a_budget_changes_nothing_but_what_is_held(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    advance = Streams._run_layer

    def watched(self: Streams, *args: object) -> list[Stream]:
        grown = advance(self, *args)  # type: ignore[arg-type]
        held.append(len(grown))
        return grown

    monkeypatch.setattr(Streams, "_run_layer", watched)
    whole = dict(sweep(model, EVERY, SweepInput(batch, 2), Schedule(way="single")))
    assert max(held) == len(EVERY)
    held.clear()
    state = 2 * 8 * 32 * 4  # rows, tokens, width, bytes
    found = dict(sweep(model, EVERY, SweepInput(batch, 2), Schedule(way="single", max_bytes=(streams + 1) * state)))
    assert max(held) == streams
    assert all(torch.equal(found[plan], whole[plan]) for plan in EVERY)


def test_a_budget_too_small_names_the_batch_size(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> None:
    state = 8 * 32 * 4
    with pytest.raises(ModelError, match=re.escape(f"{4 * state:,} bytes; use --batch-size 1")):
        next(sweep(model, SINGLES, SweepInput(batch, 1), Schedule(max_bytes=4 * state - 1)))
    with pytest.raises(ModelError, match="allow more, or shorten the examples"):
        next(sweep(model, SINGLES, SweepInput(batch, 1), Schedule(max_bytes=state)))
    assert len(dict(sweep(model, SINGLES, SweepInput(batch, 1), Schedule(max_bytes=4 * state)))) == 5


@pytest.mark.parametrize("off", [0.0, 3e-7, 1.0, float("nan")])
def test_stacking_tells_how_far_it_is_off(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is off by more than rounding, streams run one after the other and there is nothing to tell."""
    alone = dict(sweep(model, SINGLES, SweepInput(batch, 1), Schedule(way="single"), cost=(single := ComputeCost())))

    def differ(found: torch.Tensor, expected: torch.Tensor) -> float:
        assert measure_relative_difference(found, expected) < 1e-6
        return measure_relative_difference(expected * (1 + off), expected)

    monkeypatch.setattr("tapioca.engine.streams.measure_relative_difference", differ)
    found = dict(sweep(model, SINGLES, SweepInput(batch, 1), Schedule(way="stacked"), cost=(stacked := ComputeCost())))
    assert single.difference is None
    if off < 1e-3:
        assert stacked.difference == pytest.approx(off, rel=0.3)
    else:
        assert stacked.difference is None
        assert all(torch.equal(found[plan], alone[plan]) for plan in SINGLES)


@pytest.mark.parametrize(("way", "reuse"), [("single", False), ("single", True), ("stacked", False)])
def test_out_of_memory_halves_what_runs_at_once(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], way: Batching, reuse: bool
) -> None:
    whole = dict(sweep(model, EVERY, SweepInput(batch, 2), Schedule(way=way)))
    schedule = Schedule(way=way, state_cache=StateCache(2**20, 1) if reuse else None)
    with memory_for(model, 3) as passes:
        found = dict(sweep(model, EVERY, SweepInput(batch, 2), schedule))
    failed = [streams for streams in passes if streams > 3]
    assert len(failed) == 2  # with 15 plans and with 7; three are never more than three streams
    assert found.keys() == whole.keys()
    for plan in EVERY:
        torch.testing.assert_close(found[plan], whole[plan], rtol=0, atol=0 if way == "single" else 1e-5)
    if schedule.state_cache:
        assert not schedule.state_cache.states_of("").states


def test_outputs_handed_out_before_memory_ran_out_are_not_handed_out_again(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []

    def tight(*args: object) -> torch.Tensor:
        heads.append(args)
        if len(heads) == 3:
            raise torch.OutOfMemoryError
        return run_forward(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("tapioca.engine.streams.run_forward", tight)
    found = [plan for plan, _ in sweep(model, SINGLES, SweepInput(batch, 1))]
    assert sorted(found, key=str) == sorted(SINGLES, key=str)
    assert len(heads) == 5  # the third of the first five failed; of the three plans left two ran together, one alone


@pytest.mark.parametrize(
    ("rows", "advice"), [(2, "halve --batch-size"), (1, "shorten the examples, or load with --dtype bfloat16")]
)
def test_one_plan_that_does_not_fit_is_one_line(model: PreTrainedModel, rows: int, advice: str) -> None:
    batch = collate(model, [(5, 6, 7, 8, 9, 10)] * rows)
    before = run_forward(model, batch, 1)
    said = f"cpu has no memory for {rows} rows of 6 tokens under one plan; {advice}"
    for schedule in (Schedule(), Schedule(state_cache=StateCache(2**20, 1))):
        with memory_for(model, 0), pytest.raises(ModelError, match=f"^{said}$"):
            list(sweep(model, SINGLES, SweepInput(collate(model, [(5, 6, 7, 8, 9, 10)] * rows), 1), schedule))
    assert torch.equal(run_forward(model, batch, 1), before)


def test_a_wrong_plan_is_refused_before_anything_runs(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError, match="the plan is for a model of 5 layers"):
        next(sweep(model, [Plan.full(4), Plan.full(5)], SweepInput(batch, 1)))


def test_a_model_that_cannot_be_followed_is_run_plan_by_plan(batch: dict[str, torch.Tensor]) -> None:
    """Its forward changes the stream between two layers."""
    model = tiny("llama")

    class Halving(nn.Module):
        def __init__(self, block: nn.Module):
            super().__init__()
            self.block = block

        def forward(self, hidden_states: torch.Tensor, **kwargs: object) -> torch.Tensor:
            return self.block(hidden_states, **kwargs)

        def __call__(self, hidden_states: torch.Tensor, **kwargs: object) -> torch.Tensor:
            return super().__call__(hidden_states * 0.5, **kwargs)

    blocks = find_layers(model).blocks
    for place, block in enumerate(blocks):
        blocks[place] = Halving(block)
    alone = {}
    for plan in SINGLES:
        with apply(model, plan):
            alone[plan] = run_forward(model, batch, 1)
    found = dict(sweep(model, SINGLES, SweepInput(batch, 1)))
    assert all(torch.equal(found[plan], alone[plan]) for plan in SINGLES)
    assert not torch.equal(found[SINGLES[0]], run_forward(tiny("llama"), batch, 1))


def test_a_sweep_left_early_leaves_no_trace(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> None:
    before = run_forward(model, batch, 1)
    swept = sweep(model, SINGLES, SweepInput(batch, 1))
    next(swept)
    swept.close()
    assert torch.equal(run_forward(model, batch, 1), before)


def test_what_was_computed_in_one_round_is_not_computed_in_the_next(
    model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> None:
    """With room for all: the base is known to single drops, and pairs begin where their single drop has come to."""
    schedule, spent = Schedule(way="single", state_cache=StateCache(2**20, 1)), []
    pairs = [Plan.drop(4, [2, layer]) for layer in (0, 1, 3)]
    for plans in ([Plan.full(4)], SINGLES[1:], pairs):
        found = dict(sweep(model, plans, SweepInput(batch, 1), schedule, cost=(count := ComputeCost())))
        anew = dict(sweep(model, plans, SweepInput(batch, 1), Schedule(way="single")))
        assert all(torch.equal(found[plan], anew[plan]) for plan in plans)
        spent.append(count.layers)
    assert spent == [
        2 * 4,
        2 * (3 + 2 + 1 + 0),
        2 * (1 + 1 + 0),
    ]  # for two rows; "drop 2" has come to layer 3 already, which the last pair drops


@pytest.mark.parametrize(("states", "depths"), [(2, []), (3, [2]), (8, [2]), (9, [1, 2, 3]), (99, [1, 2, 3])])
def test_kept_states_stay_within_their_room(states: int, depths: list[int]) -> None:
    """Single drops of four layers have 2, 3 and 4 beginnings of one, two and three layers; one of them is the base."""
    known = BatchStates(states * 100)
    known.prepare([list_steps(plan) for plan in SINGLES], 100)
    assert list(known.depths) == depths
    assert sum(depth + 1 for depth in depths) <= states


def test_what_no_plan_begins_with_is_forgotten() -> None:
    known = BatchStates(10_000)
    known.prepare([list_steps(plan) for plan in SINGLES], 100)
    known.states = {list_steps(plan)[:2]: torch.ones(1) for plan in SINGLES}
    known.prepare([list_steps(Plan.drop(4, [1])), list_steps(Plan.drop(4, [1, 3]))], 100)
    assert set(known.states) == {list_steps(Plan.drop(4, [1]))[:2]}
    assert known.find_deepest(list_steps(Plan.drop(4, [1, 2]))) == 2
    assert known.find_deepest(list_steps(Plan.drop(4, [0]))) == 0
