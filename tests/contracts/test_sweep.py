"""Many plans in one pass give the numbers of each plan alone, for models of every type."""

from __future__ import annotations

import pytest
import torch
from support.contracts import FIRST_STAYS, NO_BRANCHES, branch_plan, count_hooks, droppable, inputs, newer_plans
from transformers import PreTrainedModel

from tapioca.engine.options import SweepInput
from tapioca.engine.state_cache import StateCache
from tapioca.engine.streams import Streams
from tapioca.engine.sweep import Schedule, sweep
from tapioca.models.capture import capture_layer_outputs
from tapioca.models.edit import apply
from tapioca.models.inputs import run_forward
from tapioca.models.tiny import RECIPES, tiny
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps

ALONE = {"gemma3n_text", "gemma4_text"}
"""Types whose layers share keys and values: their plans run one at a time."""


def plans_for(name: str) -> list[Plan]:
    """The full model, single and double drops, layer scales, branch plans where the type has branches, and what else plans do."""
    drops = [Plan.drop(4, [layer]) for layer in droppable(name)]
    drops += [Plan.drop(4, [1, layer]) for layer in droppable(name)[2:]]
    scales = [Plan.scale(4, {1: 0.5}), Plan.scale(4, {1: 0.5, 3: 1.5}), *newer_plans(name).values()]
    branches = [] if name in NO_BRANCHES else [branch_plan(name), branch_plan(name, last=False)]
    return list(dict.fromkeys([*drops, *scales, *branches, Plan.full(4)]))


def padded(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A batch whose second row is padded on the left, where the model reads tokens."""
    batch = inputs(model)
    if "input_ids" in batch:
        mask = torch.ones_like(batch["input_ids"])
        mask[1, :7] = 0
        batch["attention_mask"] = mask
    return batch


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_sweep_gives_each_plans_own_outputs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plans = tiny(name), plans_for(name)
    batch, before = padded(model), count_hooks(model)
    alone = {}
    for plan in plans:
        with apply(model, plan):
            alone[plan] = run_forward(model, batch, 3)
    followed: list[bool] = []
    grow = Streams.run_layers
    monkeypatch.setattr(Streams, "run_layers", lambda streams: followed.append(grow(streams)) or followed[-1])
    found = dict(sweep(model, [*plans, plans[0]], SweepInput(batch, 3)))
    assert followed == [name not in ALONE]
    assert found.keys() == alone.keys()
    for plan in plans:
        assert torch.equal(found[plan], alone[plan]), plan
    assert count_hooks(model) == before
    assert torch.equal(run_forward(model, batch, 3), alone[Plan.full(4)])
    assert len({float(outputs.double().sum()) for outputs in alone.values()}) == len(plans)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_sweep_hands_over_each_plans_own_states(name: str) -> None:
    plans = [
        plan for plan in plans_for(name) if name not in FIRST_STAYS or len(plan.drops) < 2
    ]  # T5 has other lists of 2
    model = tiny(name)
    batch, found = padded(model), dict[Prefix, torch.Tensor]()
    for _ in sweep(model, plans, SweepInput(batch, 1), Schedule(way="single"), on_states=found.__setitem__):
        pass
    asked = set[Prefix]()
    for plan in plans:
        alone: list[torch.Tensor] = []
        with apply(model, plan):
            capture_layer_outputs(model, batch, lambda place, states, alone=alone: alone.append(states))
        states_by_layer = dict(zip(plan.order, alone, strict=True))  # of a repeated layer the last
        for layer, states in states_by_layer.items():
            prefix = list_steps(plan)[: layer + 1]
            assert torch.equal(found[prefix], states), (plan, layer)
            asked.add(prefix)
    assert found.keys() == asked


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_stacked_streams_differ_by_rounding_alone(name: str) -> None:
    model, plans = tiny(name), [plan for plan in plans_for(name) if not plan.runs_alone]
    batch = padded(model)
    single = dict(sweep(model, plans, SweepInput(batch, 3), Schedule(way="single")))
    stacked = dict(sweep(model, plans, SweepInput(batch, 3), Schedule(way="stacked")))
    for plan in plans:
        assert torch.allclose(stacked[plan], single[plan], rtol=0, atol=2e-4), plan


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_states_kept_from_round_to_round_change_nothing(name: str) -> None:
    """The rounds of a search: the full model, single drops, then pairs with one layer dropped."""
    model = tiny(name)
    batch, plans = padded(model), [plan for plan in plans_for(name) if not plan.runs_alone]
    schedule = Schedule(way="single", state_cache=StateCache(2**24, 1))
    for asked in ([Plan.full(4)], plans, plans[::2], [plan.compose(Plan.scale(4, {3: 0.5})) for plan in plans]):
        kept = dict(sweep(model, asked, SweepInput(batch, 3), schedule))
        anew = dict(sweep(model, asked, SweepInput(batch, 3), Schedule(way="single")))
        for plan in asked:
            assert torch.equal(kept[plan], anew[plan]), plan
