"""Permutation tests hold their level, find what is planted, and equal a test written out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from tapioca.profiles.deviation import mean_deviation, measure_deviations, measure_realignments, standardised_difference
from tapioca.profiles.permutation import (
    deviation_statistic,
    profiles_by_draw,
    realignment_statistic,
    run_permutation_test,
)
from tapioca.profiles.profiles import PROFILE_KINDS, state_geometry
from tapioca.profiles.spread import effective_rank
from tapioca.records import ProfileKind


def drawn(n: int, seed: int, factor: float = 1.0, layers: int = 3) -> np.ndarray:
    """States whose layers share their examples, as a residual stream's do; `factor` stretches layer 1."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(layers, n, 5)) + rng.normal(size=(1, n, 5))
    states[1] *= factor
    return states


def test_the_p_value_is_counted_over_all_permutations_where_there_are_few() -> None:
    pool = state_geometry(drawn(7, seed=3, factor=1.5))
    values = []
    for first in itertools.combinations(range(7), 3):
        rest = [at for at in range(7) if at not in first]
        values.append(mean_deviation(*(pool.select(examples=who).profiles()[1][0] for who in (first, rest))))
    found = run_permutation_test(deviation_statistic(pool.profile_functions["distance"]), 3, 4)
    assert found.value == pytest.approx(values[0], rel=1e-9)
    assert found.p == pytest.approx(np.mean(np.array(values) >= values[0] - 1e-12))
    assert found.null_mean == pytest.approx(np.mean(values))


def test_the_p_value_of_random_permutations_counts_the_one_observed() -> None:
    pool = state_geometry(np.concatenate([drawn(30, seed=0) * 9, drawn(30, seed=1)], axis=1))
    assert run_permutation_test(
        deviation_statistic(pool.profile_functions["norm"]), 30, 30, draws=99
    ).p == pytest.approx(1 / 100)


@pytest.mark.parametrize("kind", PROFILE_KINDS)
def test_the_permutation_test_of_deviation_holds_its_level(kind: ProfileKind) -> None:
    runs, rejected = 200, 0
    for run in range(runs):
        pool = state_geometry(drawn(36, seed=run))
        rejected += (
            run_permutation_test(deviation_statistic(pool.profile_functions[kind]), 16, 20, seed=run, draws=99).p
            <= 0.05
        )
    low, high = binom.ppf([0.001, 0.999], runs, 0.05)
    assert low <= rejected <= high


def test_the_permutation_test_of_realignment_holds_its_level() -> None:
    """Under a plan that wrecks everything alike, realignment is far below 0 and still no sign of a difference."""
    runs, rejected = 200, 0
    for run in range(runs):
        states = drawn(30, seed=run)
        before, after = (
            state_geometry(states),
            state_geometry(2 * states + np.random.default_rng(run).normal(size=states.shape)),
        )
        found = run_permutation_test(
            realignment_statistic(*(side.profile_functions["norm"] for side in (before, after))),
            15,
            15,
            seed=run,
            draws=99,
        )
        rejected += found.p <= 0.05
    assert found.value < -0.5
    low, high = binom.ppf([0.001, 0.999], runs, 0.05)
    assert low <= rejected <= high


def test_a_planted_distortion_is_found() -> None:
    pool = state_geometry(np.concatenate([drawn(60, seed=1, factor=1.4), drawn(60, seed=2)], axis=1))
    for profiles in pool.profile_functions.values():
        assert run_permutation_test(deviation_statistic(profiles), 60, 60).p == pytest.approx(0.001)


def test_a_plan_that_undoes_a_planted_distortion_realigns() -> None:
    ood, reference = drawn(60, seed=1), drawn(60, seed=2)
    bent = ood * np.array([1.0, 1.4, 1.4])[:, None, None]
    before, after = (state_geometry(np.concatenate([seen, reference], axis=1)) for seen in (bent, ood))
    for found in measure_realignments(state_geometry(bent), state_geometry(ood), state_geometry(reference)).values():
        assert found.ci95[0] > 0.1
        assert found.ci95[0] < found.value < found.ci95[1]
    assert run_permutation_test(
        realignment_statistic(*(side.profile_functions["norm"] for side in (before, after))), 60, 60
    ).p == pytest.approx(0.001)


def test_realignment_by_hand() -> None:
    reference, before, after = drawn(20, seed=0), drawn(20, seed=1), drawn(20, seed=2)
    for kind, found in enumerate(
        measure_realignments(state_geometry(before), state_geometry(after), state_geometry(reference)).values()
    ):
        first, second, against = (state_geometry(states).profiles()[kind][0] for states in (before, after, reference))
        assert found.value == pytest.approx(mean_deviation(first, against) - mean_deviation(second, against))
    assert measure_realignments(state_geometry(before), state_geometry(before), state_geometry(reference))[
        "norm"
    ].ci95 == (
        0,
        0,
    )
    with pytest.raises(ValueError, match="before and after"):
        measure_realignments(state_geometry(before), state_geometry(after[:, 1:]), state_geometry(reference))


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_the_interval_of_the_excess_covers_its_mean(factor: float) -> None:
    runs, found = 60, []
    for run in range(runs):
        pool = state_geometry(drawn(80, seed=3 * run))
        found += [measure_deviations([state_geometry(drawn(40, 3 * run + 1, factor))], pool, run)[0]["distance"]]
    mean = np.mean([each.value - each.null_mean for each in found])
    covered = sum(each.ci95[0] - each.null_mean <= mean <= each.ci95[1] - each.null_mean for each in found)
    assert covered >= binom.ppf(0.001, runs, 0.95)
    if factor == 1:
        assert sum(each.ci95[0] > each.null_mean for each in found) <= binom.ppf(0.999, runs, 0.025)


def test_effect_by_hand() -> None:
    seen, reference = np.array([[1.0, 3.0], [2.0, 2.0]]), np.array([[5.0, 9.0], [3.0, 3.0]])
    assert standardised_difference(seen, reference) == pytest.approx([-5 / np.sqrt(5), 0])


def test_effects_find_the_stretched_layer_and_do_not_grow_with_the_sample() -> None:
    for n in (100, 400):
        states, pool = drawn(n, 0, 1.5), state_geometry(drawn(2 * n, 1))
        [found] = measure_deviations([state_geometry(states)], pool)
        assert np.abs(found["norm"].effect).argmax() == 1
        assert 0.5 < found["norm"].effect[1] < 1.5


def test_a_measure_of_states_goes_through_the_same_nulls() -> None:
    states = np.concatenate([drawn(20, 0) * [1, 1, 1, 1, 0.01], drawn(20, 1)], axis=1)
    ranks = run_permutation_test(deviation_statistic(profiles_by_draw(effective_rank, states)), 20, 20, draws=99)
    direct = mean_deviation(effective_rank(states[:, :20]), effective_rank(states[:, 20:]))
    assert ranks.value == pytest.approx(direct)
    assert ranks.p == pytest.approx(0.01)
