"""What plans share, counted by hand and against a plain count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Step, count_layers_computed, list_steps, sort_by_prefix


def test_steps_of_a_plan() -> None:
    plan = Plan(n_layers=4, layers={0: 0.0, 3: 1.5}, attention={1: 0.0}, mlp={2: 0.5})
    assert list_steps(plan) == (Step(0.0), Step(attention=0.0), Step(mlp=0.5), Step(1.5))
    assert [step.work for step in list_steps(plan)] == [0.0, 0.5, 1.0, 1.0]


def test_a_branch_counts_half_a_layer() -> None:
    plan = Plan.drop(8, [1]).compose(Plan.scale(8, {2: 0.0}, "mlp")).compose(Plan.scale(8, {3: 0.5}, "mlp"))
    assert count_layers_computed((plan,)) == 6.5


@pytest.mark.parametrize("count", [1, 2, 8, 16, 32])
def test_a_round_of_single_drops_costs_half(count: int) -> None:
    """The full model and each drop: K + K(K - 1)/2 layers instead of K + K(K - 1)."""
    singles = tuple(Plan.drop(count, [layer]) for layer in range(count))
    assert count_layers_computed((Plan.full(count), *singles)) == count * (count + 1) / 2


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=12))
def test_sharing_never_costs_more_and_repeats_cost_nothing(drops: list[set[int]]) -> None:
    plans = [Plan.drop(6, some) for some in drops]
    together = count_layers_computed(tuple(plans))
    assert max(len(plan.kept) for plan in plans) <= together <= sum(len(plan.kept) for plan in set(plans))
    assert together == count_layers_computed((*plans, *plans)) == count_layers_computed(tuple(sort_by_prefix(plans)))


def test_plans_that_run_alone_share_no_layer() -> None:
    repeating, bent = Plan(n_layers=4, layers={3: 0.0}, repeats=[(1, 2)]), Plan(n_layers=4, norms={3: 1.0})
    assert count_layers_computed((Plan.full(4), Plan.drop(4, [3]))) == 4
    assert count_layers_computed((Plan.full(4), repeating, bent)) == 4 + 5 + 4
    assert list_steps(bent)[3] != list_steps(Plan.full(4))[3]
    assert list_steps(repeating)[1] != list_steps(Plan.full(4))[1]
    assert sort_by_prefix([bent, repeating, Plan.full(4)])
