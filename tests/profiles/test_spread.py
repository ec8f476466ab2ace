"""The field's measures of spread and likeness against direct computation and cases known by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapioca.errors import NonFiniteError
from tapioca.plan import Plan
from tapioca.profiles.cka import covariance_alignment, linear_cka
from tapioca.profiles.spread import KEPT_SHARE, cosine_spread, effective_rank, intrinsic_dimension
from tapioca.profiles.summary import measure_representation
from tapioca.records import RepresentationMeasures


def states(n: int = 12, layers: int = 3, width: int = 7, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(layers, n, width)) * (1 + np.arange(width)) + 2).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_cosine_spread_equals_the_mean_over_pairs(dtype: str) -> None:
    seen = states(dtype=dtype)
    for layer, found in zip(seen.astype(np.float64), cosine_spread(seen), strict=True):
        pairs = [1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in itertools.combinations(layer, 2)]
        assert found == pytest.approx(np.mean(pairs), rel=1e-6)


def test_cosine_spread_by_hand() -> None:
    one_way = np.outer([1.0, 2.0, 5.0], [3.0, 4.0])
    right_angle = np.array([[1.0, 0.0], [0.0, 7.0], [2.0, 0.0]])
    assert cosine_spread(np.stack([one_way, right_angle])) == pytest.approx([0, 2 / 3], abs=1e-12)
    with pytest.raises(NonFiniteError, match="after layer 1 is zero"):
        cosine_spread(np.stack([one_way, right_angle * [[0], [1], [1]]]))


def test_effective_rank_equals_the_entropy_of_the_eigenvalues_of_the_covariance() -> None:
    seen = states()
    for layer, found in zip(seen.astype(np.float64), effective_rank(seen), strict=True):
        singular = np.sqrt(np.linalg.eigvalsh(np.cov(layer.T)))
        share = singular / singular.sum()
        assert found == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)


def test_effective_rank_by_hand() -> None:
    cross = np.concatenate([np.eye(3), -np.eye(3)])  # three equal singular values
    line = np.outer([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0])
    assert effective_rank(np.stack([cross + 100, line, np.full((6, 3), 0.1)])) == pytest.approx([3, 1, 0])


def test_intrinsic_dimension_equals_a_direct_fit() -> None:
    seen = states(30)
    for layer, found in zip(seen.astype(np.float64), intrinsic_dimension(seen), strict=True):
        near = [np.sort([np.linalg.norm(x - y) for y in layer])[1:3] for x in layer]
        ratios = np.sort([second / first for first, second in near])
        kept = int(KEPT_SHARE * 30)
        x, y = np.log(ratios[:kept]), -np.log(1 - np.arange(1, kept + 1) / 30)
        assert found == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0], rel=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_intrinsic_dimension_of_a_cube_turned_into_a_wider_space(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    turned = rng.uniform(size=(1, 500, dimension)) @ np.linalg.qr(rng.normal(size=(30, dimension)))[0].T
    assert intrinsic_dimension(turned)[0] == pytest.approx(dimension, rel=0.15)


def test_equal_states_count_once() -> None:
    seen = states(20)
    assert intrinsic_dimension(np.concatenate([seen, seen[:, :5]], axis=1)) == pytest.approx(intrinsic_dimension(seen))
    assert intrinsic_dimension(np.ones((1, 9, 4))) == pytest.approx([0])


def test_points_that_are_all_equally_far_have_no_intrinsic_dimension() -> None:
    with pytest.raises(NonFiniteError, match="equally far"):
        intrinsic_dimension(np.eye(6)[None])


def test_linear_cka_equals_the_centred_gram_matrices() -> None:
    """Kornblith et al., equation 2 with linear kernels, the centring matrix written out."""
    x, y = states(9, seed=1), states(9, width=4, seed=2)
    centre = np.eye(9) - 1 / 9
    for a, b, found in zip(x.astype(np.float64), y.astype(np.float64), linear_cka(x, y), strict=True):
        k, m = (centre @ s @ s.T @ centre for s in (a, b))
        assert found == pytest.approx(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)), rel=1e-6)


def test_linear_cka_sees_through_turns_and_scales_and_not_through_shuffled_examples() -> None:
    seen, rng = states(40), np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    assert linear_cka(seen, 3 * (seen @ turn) + 5) == pytest.approx(np.ones(3))
    assert (linear_cka(seen, seen[:, rng.permutation(40)]) < 0.5).all()
    assert linear_cka(seen, np.ones_like(seen)) == pytest.approx(np.zeros(3))
    with pytest.raises(ValueError, match="same layers and examples"):
        linear_cka(seen, seen[:, 1:])


def test_covariance_alignment_equals_the_covariances_cosine() -> None:
    x, y = states(9, seed=1), states(14, seed=2)
    for a, b, found in zip(x.astype(np.float64), y.astype(np.float64), covariance_alignment(x, y), strict=True):
        c, d = np.cov(a.T), np.cov(b.T)
        assert found == pytest.approx(np.trace(c @ d) / np.linalg.norm(c) / np.linalg.norm(d), rel=1e-6)


def test_covariance_alignment_sees_directions_and_not_shuffled_examples() -> None:
    seen, rng = states(40), np.random.default_rng(0)
    assert covariance_alignment(seen, 3 * seen[:, rng.permutation(40)] + 5) == pytest.approx(np.ones(3))
    first, second = seen * ([1] * 3 + [0] * 4), seen * ([0] * 3 + [1] * 4)
    assert covariance_alignment(first, second) == pytest.approx(np.zeros(3))
    with pytest.raises(ValueError, match="one model's layers"):
        covariance_alignment(seen, seen[:, :, 1:])


def test_the_record_holds_every_measure_and_goes_to_json() -> None:
    seen, full, reference = states(20), states(20, seed=1), states(30, seed=2)
    found = measure_representation(Plan.drop(4, [1]), seen, full, reference)
    assert found.n == 20
    assert found.effective_rank == pytest.approx(effective_rank(seen))
    assert found.cosine_spread == pytest.approx(cosine_spread(seen))
    assert found.intrinsic_dimension == pytest.approx(intrinsic_dimension(seen))
    assert found.cka == pytest.approx(linear_cka(seen, full))
    assert found.alignment == pytest.approx(covariance_alignment(seen, reference))
    assert RepresentationMeasures.model_validate_json(found.model_dump_json()) == found
    assert measure_representation(Plan.full(3), seen).cka is None
