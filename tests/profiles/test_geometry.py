"""Profiles and deviations against direct computation, their null, and a planted distortion."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from tapioca.profiles.deviation import bootstrap_bands, mean_deviation, measure_deviations, signed_log_ratio
from tapioca.profiles.profiles import PROFILES, StateGeometry, draw_halves, resample_examples, state_geometry
from tapioca.records import PROFILE_NAMES, ProfileKind


def cloud(n: int, layers: int = 4, width: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(layers, n, width)) * (1 + np.arange(layers))[:, None, None]).astype(np.float32)


def test_every_kind_of_profile_is_defined_and_named() -> None:
    assert tuple(PROFILES) == tuple(PROFILE_NAMES) == get_args(ProfileKind)
    geometry = state_geometry(cloud(5))
    assert geometry.profiles().shape == (len(PROFILES), 1, 4)
    assert geometry.per_example().shape == (len(PROFILES), 4, 5)


def test_profiles_equal_a_direct_computation() -> None:
    states = cloud(9)
    norm, distance = state_geometry(states).profiles()
    for layer, at in enumerate(states.astype(np.float64)):
        assert norm[0, layer] == pytest.approx(np.mean([np.sqrt((x**2).sum()) for x in at]), rel=1e-6)
        pairs = [np.sqrt(((x - y) ** 2).sum()) for x, y in itertools.combinations(at, 2)]
        assert distance[0, layer] == pytest.approx(np.mean(pairs), rel=1e-6)


def test_counts_equal_a_direct_resample_without_self_pairs() -> None:
    states, drawn = cloud(5), [0, 0, 2, 3, 3]
    counts = np.bincount(drawn, minlength=5)[None]
    norm, distance = state_geometry(states).profiles(counts)
    for layer, at in enumerate(states.astype(np.float64)):
        pairs = [
            np.linalg.norm(at[a] - at[b])
            for a, b in itertools.permutations(range(5), 2)
            for _ in range(counts[0, a] * counts[0, b])
        ]
        direct = np.sum(pairs) / (5**2 - (counts**2).sum())
        assert norm[0, layer] == pytest.approx(np.linalg.norm(at[drawn], axis=1).mean(), rel=1e-6)
        assert distance[0, layer] == pytest.approx(direct, rel=1e-6)


def test_halves_equal_the_profiles_of_each_half() -> None:
    states = cloud(8)
    whole = state_geometry(states)
    first = draw_halves(4, 3, np.random.default_rng(0))
    assert first.sum(1).tolist() == [4, 4, 4]
    norm, distance = whole.profiles(first)
    for draw, member in enumerate(first):
        direct = state_geometry(states[:, member.astype(bool)]).profiles()
        assert norm[draw] == pytest.approx(direct[0][0])
        assert distance[draw] == pytest.approx(direct[1][0])


def test_taking_layers_and_examples_equals_the_shape_of_the_part() -> None:
    states = cloud(8)
    part, direct = (
        state_geometry(states).select(layers=[3, 1], examples=[5, 0, 2]),
        state_geometry(states[[3, 1]][:, [5, 0, 2]]),
    )
    assert part.norms == pytest.approx(direct.norms)
    assert part.distances == pytest.approx(direct.distances)


def test_half_precision_states_are_summed_in_float64() -> None:
    states = (cloud(50) * 100).astype(np.float16)
    norm, _ = state_geometry(states).profiles()
    direct = np.linalg.norm(states.astype(np.float64), axis=2).mean(1)
    assert norm[0] == pytest.approx(direct, rel=1e-12)


def test_deviation_by_hand() -> None:
    assert mean_deviation(np.array([2.0, 1.0]), np.array([1.0, 4.0])) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert signed_log_ratio(np.array([2.0]), np.array([1.0])) == pytest.approx(np.log(2))
    assert np.isfinite(mean_deviation(np.array([0.0]), np.array([1.0])))  # collapsed states have no infinite deviation


def test_same_data_has_no_deviation_and_a_scaled_copy_has_exactly_its_factor() -> None:
    states = cloud(20)
    pool = state_geometry(np.concatenate([states, cloud(20, seed=1)], axis=1))
    assert measure_deviations([state_geometry(states)], pool)[0]["norm"].value == 0
    for measured in measure_deviations([state_geometry(states * 3)], pool)[0].values():
        assert measured.value == pytest.approx(np.log(3), rel=1e-5)
        assert measured.signed == pytest.approx(np.full(4, np.log(3)), rel=1e-5)


def test_sets_are_measured_together_as_if_each_were_the_only_one() -> None:
    pool, sets = state_geometry(cloud(40, seed=3)), [state_geometry(cloud(20, seed=seed)) for seed in (1, 2)]
    assert measure_deviations(sets, pool) == [measure_deviations([each], pool)[0] for each in sets]


def test_the_null_holds_its_level() -> None:
    """Two samples of one source pass the 95th percentile of the null in about 5 % of simulations."""
    passed = np.zeros(2)
    for run in range(100):
        states = cloud(60, layers=2, seed=run)
        pool = state_geometry(states[:, :40])
        [found] = measure_deviations([state_geometry(states[:, 40:])], pool, seed=run)
        passed += [measured.value > measured.null_upper for measured in found.values()]
    assert (passed <= 13).all()  # 5 expected; more than 13 has probability 0.001
    assert passed.sum() >= 1


def test_a_planted_distortion_is_seen_in_its_layer() -> None:
    states, other = cloud(40, seed=1), cloud(40, seed=2)
    other[2] *= 1.5
    pool = state_geometry(np.concatenate([states, cloud(40, seed=3)], axis=1))
    for measured in measure_deviations([state_geometry(other)], pool)[0].values():
        assert measured.value > measured.null_upper
        assert int(np.abs(measured.signed).argmax()) == 2


def test_bands_hold_the_profile() -> None:
    seen = state_geometry(cloud(50))
    for band, profile in zip(bootstrap_bands(seen), seen.profiles(), strict=True):
        assert band.shape == (4, 2)
        assert (band[:, 0] < profile[0]).all()
        assert (band[:, 1] > profile[0]).all()


def test_a_resample_draws_as_many_as_there_are() -> None:
    assert resample_examples(7, 5, np.random.default_rng(0)).sum(1).tolist() == [7] * 5


def test_a_handful_of_examples_has_bands_too() -> None:
    """One example drawn over and over has no pairs; with 2 examples every other resample would be that."""
    seen = state_geometry(cloud(2))
    assert (resample_examples(2, 100, np.random.default_rng(0)) == 1).all()
    assert bootstrap_bands(seen)[1] == pytest.approx(np.repeat(seen.profiles()[1].T, 2, axis=1))
    assert resample_examples(1, 3, np.random.default_rng(0)).tolist() == [[1.0]] * 3


def test_one_example_has_no_distance() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        state_geometry(cloud(1))


def test_shape_fields() -> None:
    seen = state_geometry(cloud(3))
    assert isinstance(seen, StateGeometry)
    assert seen.norms.shape == (4, 3)
    assert seen.distances.shape == (4, 3, 3)
