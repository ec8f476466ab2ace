"""Evidence of a shift: quiet where there is none, loud where one is planted, and on one scale for all models."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.models.tiny import tiny
from tapioca.observe import capture_stream_states
from tapioca.plan import Plan
from tapioca.profiles.evidence import EVIDENCE, MAX_LOG_RATIO, measure_evidence, measure_evidence_of_halves
from tapioca.records import Example

LAYERS = 6


def drawn(seed: int, n: int = 64, factors: np.ndarray | None = None, width: int = 24) -> np.ndarray:
    """A stream whose states grow over the layers; `factors` stretches the places, of which there is one more."""
    rng = np.random.default_rng(seed)
    scales = 1 / (1 + np.arange(width))
    stream = (rng.normal(size=(LAYERS + 1, n, width)) * scales + 0.2 * scales).cumsum(axis=0)
    return stream if factors is None else stream * factors[:, None, None]


def test_two_samples_of_one_source_are_within_their_null_about_95_times_in_100() -> None:
    found = [measure_evidence(drawn(3 * at, 32), drawn(3 * at + 1, 32), drawn(3 * at + 2, 32), at) for at in range(60)]
    for kind in ("norm", "distance"):
        within = sum(one[f"{kind}_excess"] <= 0 for one in found)
        assert 51 <= within <= 60
        assert max(one[f"{kind}_excess"] for one in found) < 0.4
    for name in ("spread_shift", "rank_shift", "dimension_shift", "alignment_shift", "norm_shift", "distance_shift"):
        assert abs(np.mean([one[name] for one in found])) < 0.05, name


def test_a_planted_amplification_has_the_size_the_slope_and_the_place_it_was_planted_with() -> None:
    growing = np.exp(0.8 * np.linspace(0, 1, LAYERS))
    found = measure_evidence(drawn(0, 256, np.concatenate([[1.0], growing])), drawn(1, 256), drawn(2, 256))
    for kind in ("norm", "distance"):
        assert found[f"{kind}_excess"] > 0.3
        assert found[f"{kind}_shift"] == pytest.approx(0.4, abs=0.08)
        assert found[f"{kind}_slope"] == pytest.approx(0.8, abs=0.15)
        assert found[f"{kind}_before"] < 0.3
    everywhere = measure_evidence(drawn(0, 256, np.full(LAYERS + 1, 2.0)), drawn(1, 256), drawn(2, 256))
    for kind in ("norm", "distance"):
        assert everywhere[f"{kind}_shift"] == pytest.approx(np.log(2), abs=0.08)
        assert everywhere[f"{kind}_slope"] == pytest.approx(0, abs=0.15)
        assert everywhere[f"{kind}_before"] == pytest.approx(0.5, abs=0.1)
    assert everywhere["rank_shift"] == pytest.approx(0, abs=0.05)


def test_other_directions_and_fewer_of_them_are_seen() -> None:
    turned = measure_evidence(drawn(0)[..., ::-1], drawn(1), drawn(2))
    assert turned["alignment_shift"] < -0.5
    assert turned["alignment_last"] < -0.5
    flat = drawn(0)
    flat[..., 3:] = 0
    found = measure_evidence(flat, drawn(1), drawn(2))
    assert found["rank_shift"] < -0.5
    assert found["dimension_shift"] < -0.2
    assert measure_evidence(drawn(0) + 1, drawn(1), drawn(2))["spread_shift"] < -0.5  # one direction in all of them


def test_multiplying_all_states_changes_nothing() -> None:
    sets = [drawn(seed, factors=np.linspace(1, 1 + seed, LAYERS + 1)) for seed in range(3)]
    found = measure_evidence(*sets)
    assert tuple(found) == EVIDENCE
    for factor in (1e-6, 1e6):
        assert measure_evidence(*(factor * states for states in sets)) == pytest.approx(found, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("equal", [(0,), (1, 2), (0, 1, 2)])
def test_prompts_that_all_end_in_one_token_leave_every_number_finite(equal: tuple[int, ...]) -> None:
    sets = [drawn(seed) for seed in range(3)]
    for at in equal:
        sets[at][0] = 1.0
    found = measure_evidence(*sets)
    assert np.isfinite(list(found.values())).all()
    assert found["distance_before"] == pytest.approx(0 if len(equal) == 3 else 1, abs=0.15)
    sets[0][:] = 1.0  # one prompt over and over
    stuck = measure_evidence(*sets)
    assert np.isfinite(list(stuck.values())).all()
    assert stuck["distance_shift"] == -MAX_LOG_RATIO


def test_halves_show_what_no_shift_looks_like() -> None:
    usual = measure_evidence_of_halves(drawn(1), drawn(2), 40)
    assert len(usual) == 40
    assert sum(one["norm_excess"] <= 0 for one in usual) >= 34
    stretched = measure_evidence(drawn(0, factors=np.linspace(1, 2, LAYERS + 1)), drawn(1), drawn(2))
    for name in ("norm_excess", "norm_shift", "norm_slope", "distance_excess"):
        assert stretched[name] > max(one[name] for one in usual)
    turned = measure_evidence(drawn(0)[..., ::-1], drawn(1), drawn(2))
    assert turned["alignment_shift"] < min(one["alignment_shift"] for one in usual)
    assert usual == measure_evidence_of_halves(drawn(1), drawn(2), 40)


def test_one_layer_has_no_slope() -> None:
    found = measure_evidence(*(drawn(seed)[:2] * (1 + seed) for seed in range(3)))
    assert found["norm_slope"] == found["distance_slope"] == 0
    assert np.isfinite(list(found.values())).all()


def test_padding_and_batches_do_not_matter() -> None:
    rng, model = np.random.default_rng(0), tiny("llama")
    rows = [tuple(rng.integers(3, 128, rng.integers(4, 20)).tolist()) for _ in range(48)]
    examples = [Example(id=str(at), group=str(at), rows=(), prompt=row) for at, row in enumerate(rows)]
    one, many = (
        measure_evidence(*np.split(capture_stream_states(model, Plan.full(4), examples, size), 3, axis=1))
        for size in (1, 16)
    )
    assert one == pytest.approx(many, rel=1e-3, abs=1e-3)


def test_sets_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape \(layer \+ 1, example, width\), got \(7, 32, 24\)"):
        measure_evidence(drawn(0, 32), drawn(1), drawn(2))
