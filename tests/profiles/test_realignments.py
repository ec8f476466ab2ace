"""Realignment of many plans from shared states, and rank correlations over plans."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.profiles.deviation import measure_realignments
from tapioca.profiles.many_plans import correlate_plans, realign_plans
from tapioca.profiles.profiles import state_geometry

PLANS = [Plan.drop(3, drops) for size in (1, 2) for drops in combinations(range(3), size)]


def clouds(examples: int = 20) -> tuple[dict[Prefix, np.ndarray], np.ndarray]:
    """States of OOD examples at every place of the tree, each place with a scale of its own, and of ID ones."""
    rng = np.random.default_rng(0)
    places = {list_steps(plan)[: layer + 1] for plan in [Plan.full(3), *PLANS] for layer in plan.kept}
    base = rng.normal(size=(examples, 6))
    states = {prefix: base * rng.uniform(0.5, 2) + rng.normal(size=(examples, 6)) / 4 for prefix in sorted(places)}
    return states, rng.normal(size=(3, examples, 6))


def under(states: dict[Prefix, np.ndarray], plan: Plan) -> np.ndarray:
    return np.stack([states[list_steps(plan)[: layer + 1]] for layer in plan.kept])


def test_every_plan_realigns_as_it_does_alone() -> None:
    states, reference = clouds()
    found = realign_plans(states, reference, PLANS, draws=400)
    assert found.shape == (2, 401, 6)
    full, against = state_geometry(under(states, Plan.full(3))), state_geometry(reference)
    for at, plan in enumerate(PLANS):
        kept = plan.kept
        one = measure_realignments(
            full.select(layers=kept), state_geometry(under(states, plan)), against.select(layers=kept)
        )
        for kind, expected in zip(found[:, :, at], one.values(), strict=True):
            assert kind[0] == pytest.approx(expected.value)
            low, high = np.percentile(kind[1:] - kind[1:].mean(), [2.5, 97.5]) + kind[0]
            width = expected.ci95[1] - expected.ci95[0]
            assert (low, high) == pytest.approx(expected.ci95, abs=0.2 * width)


def shuffles(count: int, plans: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.stack([rng.permutation(plans) for _ in range(count)])


def test_a_planted_correlation_is_found() -> None:
    rng = np.random.default_rng(3)
    signal = np.arange(20.0)
    first = signal + rng.normal(size=(301, 20)) * np.r_[0, np.ones(300)][:, None]
    found = correlate_plans(first, -first[0] + np.zeros((301, 20)), shuffles(200, 20))
    assert found is not None
    assert found.value == pytest.approx(-1)
    assert found.ci95[0] == -1 < found.ci95[1] < -0.9
    assert found.plans_ci95 == pytest.approx((-1, -1))
    assert found.p == pytest.approx(1 / 201)


def test_without_a_correlation_p_holds_its_level() -> None:
    rng, others = np.random.default_rng(4), shuffles(99, 12)
    drawn = rng.normal(size=(300, 2, 3, 12))
    p = [found.p for first, second in drawn if (found := correlate_plans(first, second, others))]
    assert len(p) == 300
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.04)


def test_where_all_plans_gain_the_same_there_is_none() -> None:
    assert correlate_plans(np.arange(8.0).reshape(2, 4), np.zeros((2, 4)), shuffles(5, 4)) is None
