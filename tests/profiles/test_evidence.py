"""Evidence of a shift: the same for few and for many inputs, quiet where there is none, as large as what is planted."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.models.tiny import tiny
from tapioca.observe import capture_last_and_mean_states, capture_stream_states
from tapioca.plan import Plan
from tapioca.profiles.evidence import (
    EVIDENCE,
    HALVES,
    MAX_LOG_RATIO,
    NULL_TEST,
    READS,
    MeasuredEvidence,
    measure_evidence,
)
from tapioca.records import Example

LAYERS = 6


def drawn(seed: int, n: int = 64, factors: np.ndarray | None = None, width: int = 24) -> dict[str, np.ndarray]:
    """A stream whose states grow over the layers; `factors` stretches the places, of which there is one more. What is read as
    the mean is half as long."""
    rng = np.random.default_rng(seed)
    scales = 1 / (1 + np.arange(width))
    stream = (rng.normal(size=(LAYERS + 1, n, width)) * scales + 0.2 * scales).cumsum(axis=0)
    states = stream if factors is None else stream * factors[:, None, None]
    return {"last": states, "mean": states / 2}


def measure(seed: int, n: int = 64, factors: np.ndarray | None = None) -> MeasuredEvidence:
    return measure_evidence(drawn(3 * seed, n, factors), drawn(3 * seed + 1, n), drawn(3 * seed + 2, n), seed)


def by_name(measured: MeasuredEvidence) -> dict[str, float]:
    return dict(zip(EVIDENCE, measured.values.tolist(), strict=True))


def test_two_samples_of_one_source_are_within_all_their_nulls_about_95_times_in_100() -> None:
    measured = [measure(seed, 32) for seed in range(60)]
    assert all(tuple(one.excess) == NULL_TEST for one in measured)
    largest = [max(one.excess.values()) for one in measured]
    assert 54 <= sum(excess <= 0 for excess in largest) <= 60
    assert max(largest) < 0.4
    assert np.abs(np.mean([one.values for one in measured], axis=0)).max() < 0.05


@pytest.mark.parametrize("n", [8, 32, 128, 512])
def test_a_shift_has_the_same_numbers_whatever_the_number_of_inputs(n: int) -> None:
    """The mean over samples is what is planted; only the scatter shrinks, as the root of the number does."""
    factors = np.concatenate([[1.2], np.exp(0.1 + 0.2 * np.linspace(0, 1, LAYERS))])
    planted = {"input": np.log(1.2), "shift": 0.2, "slope": 0.2}
    values = np.array([measure(seed, n, factors).values for seed in range(max(1, 160 // n))])
    tolerance = 4 * 0.55 / np.sqrt(values.shape[0] * n)
    for name, value in zip(EVIDENCE, values.mean(axis=0), strict=True):
        assert value == pytest.approx(planted[name.split("_")[2]], abs=tolerance), name


def test_halves_scatter_as_samples_do() -> None:
    samples = [measure(seed, 64) for seed in range(40)]
    scatter = np.std([one.values for one in samples], axis=0, ddof=1)
    errors = np.mean([one.halves.std(axis=0, ddof=1) for one in samples], axis=0)
    assert errors / scatter == pytest.approx(np.ones(len(EVIDENCE)), rel=0.35)
    assert samples[0].halves.shape == samples[0].id_halves.shape == (HALVES, len(EVIDENCE))


def test_a_shift_that_only_the_means_show_is_seen() -> None:
    sets = [drawn(seed) for seed in range(3)]
    sets[0]["mean"] = 1.5 * sets[0]["mean"]
    excess = measure_evidence(*sets).excess
    assert excess["mean_norm_excess"] > 0.3
    assert excess["last_norm_excess"] < 0.1


def test_a_planted_amplification_has_the_size_and_the_place_it_was_planted_with() -> None:
    growing = np.exp(0.8 * np.linspace(0, 1, LAYERS))
    grown = by_name(measure(0, 256, np.concatenate([[1.0], growing])))
    everywhere = by_name(measure(0, 256, np.full(LAYERS + 1, 2.0)))
    for read in READS:
        for kind in ("norm", "distance"):
            numbers = [grown[f"{read}_{kind}_{summary}"] for summary in ("input", "shift", "slope")]
            assert numbers == pytest.approx([0, 0.4, 0.8], abs=0.15)
            numbers = [everywhere[f"{read}_{kind}_{summary}"] for summary in ("input", "shift", "slope")]
            assert numbers == pytest.approx([np.log(2), np.log(2), 0], abs=0.15)


def test_multiplying_all_states_changes_nothing() -> None:
    sets = [drawn(seed, factors=np.linspace(1, 1 + seed, LAYERS + 1)) for seed in range(3)]
    measured = measure_evidence(*sets)
    for factor in (1e-6, 1e6):
        scaled = [{read: factor * states for read, states in one.items()} for one in sets]
        again = measure_evidence(*scaled)
        assert again.values == pytest.approx(measured.values, rel=1e-6, abs=1e-9)
        assert again.excess == pytest.approx(measured.excess)


@pytest.mark.parametrize("equal", [(0,), (1, 2), (0, 1, 2)])
def test_prompts_that_all_end_in_one_token_leave_every_number_finite(equal: tuple[int, ...]) -> None:
    """Their last tokens are alike before the first layer, and their means are not."""
    sets = [drawn(seed) for seed in range(3)]
    for at in equal:
        sets[at]["last"][0] = 1.0
    measured = by_name(measure_evidence(*sets))
    assert np.isfinite(list(measured.values())).all()
    assert measured["last_distance_input"] == {1: -MAX_LOG_RATIO, 2: MAX_LOG_RATIO, 3: 0.0}[len(equal)]
    assert abs(measured["mean_distance_input"]) < 0.2
    sets[0]["last"][:] = 1.0  # one prompt over and over
    assert by_name(measure_evidence(*sets))["last_distance_shift"] == -MAX_LOG_RATIO


def test_one_layer_has_no_slope() -> None:
    sets = [{read: states[:2] * (1 + seed) for read, states in drawn(seed).items()} for seed in range(3)]
    measured = by_name(measure_evidence(*sets))
    assert {value for name, value in measured.items() if name.endswith("slope")} == {0.0}


def test_padding_and_batches_do_not_matter() -> None:
    rng, model = np.random.default_rng(0), tiny("llama")
    rows = [tuple(rng.integers(3, 128, rng.integers(1, 20)).tolist()) for _ in range(12)]
    examples = [Example(id=str(at), group=str(at), rows=(), prompt=row) for at, row in enumerate(rows)]
    alone, together = (capture_last_and_mean_states(model, Plan.full(4), examples, size) for size in (1, 12))
    for read in READS:
        assert alone[read] == pytest.approx(together[read], rel=1e-4, abs=1e-5)
    assert together["last"] == pytest.approx(capture_stream_states(model, Plan.full(4), examples, 12))


def test_the_mean_leaves_out_the_first_token_unless_it_is_the_only_one() -> None:
    model = tiny("llama")
    examples = [Example(id=row, group=row, rows=(), prompt=tuple(map(ord, row))) for row in ("abcd", "a")]
    states = capture_last_and_mean_states(model, Plan.full(4), examples, 2)
    embedding = model.get_input_embeddings().weight.detach().numpy()  # type: ignore[union-attr]
    assert states["mean"][0, 0] == pytest.approx(embedding[[ord(letter) for letter in "bcd"]].mean(axis=0), abs=1e-6)
    assert states["mean"][0, 1] == pytest.approx(embedding[ord("a")], abs=1e-6)


def test_sets_of_other_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"one shape \(layer \+ 1, example, width\), of at least 4 examples, got \(7, 32"
    ):
        measure_evidence(drawn(0, 32), drawn(1), drawn(2))
    with pytest.raises(ValueError, match="of at least 4 examples, got"):
        measure_evidence(drawn(0, 3), drawn(1, 3), drawn(2, 3))
