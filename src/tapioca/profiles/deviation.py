"""Deviation of one profile from a reference, its interval and null, and the realignment of a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.profiles.profiles import StateGeometry, draw_halves, resample_examples
from tapioca.records import Estimate

DRAWS = 1_000
FLOOR = 1e-12


def signed_log_ratio(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio of a profile to the reference, layer by layer; both (..., layer), floored away from zero."""
    return np.log(np.maximum(profile, FLOOR)) - np.log(np.maximum(reference, FLOOR))


def mean_deviation(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean over layers of |log ratio to the reference|; inputs (..., layer), result (...)."""
    return np.abs(signed_log_ratio(profile, reference)).mean(axis=-1)


def standardised_difference(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Standardised mean difference (Cohen's d), layer by layer: how many standard deviations of a single example two
    means differ by. Unlike a p-value it does not grow with the number of examples.

    Args:
        values, reference: one number per example, (layer, example); see `StateGeometry.per_example`.

    Returns:
        (layer,), above 0 where `values` is larger, over the root of the two variances' mean; 0 where neither varies.
    """
    difference = values.mean(axis=1) - reference.mean(axis=1)
    spread = np.sqrt((values.var(axis=1, ddof=1) + reference.var(axis=1, ddof=1)) / 2)
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)


@dataclass(frozen=True)
class MeasuredDeviation:
    """A deviation with its bootstrap interval, its null and its effect size, for one kind of profile."""

    signed: np.ndarray
    effect: np.ndarray
    value: float
    ci95: tuple[float, float]
    null_mean: float
    null_upper: float


def measure_deviations(
    geometry: StateGeometry, reference: StateGeometry, pool: StateGeometry, seed: int = 0
) -> tuple[MeasuredDeviation, MeasuredDeviation]:
    """Norm and distance deviation of `geometry` from `reference`.

    The deviation is an average of absolute values, hence biased upward: two samples of one source
    differ too. The null is that difference for two disjoint samples of the reference's own source,
    drawn at random from `pool`. Give `pool` twice as many examples as `geometry` and `reference` have,
    or its samples are of other sizes.

    Args:
        geometry: the examples in question.
        reference: the examples to compare with, over the same layers.
        pool: examples of the reference's source, over the same layers.
        seed: of the resampling.

    Returns:
        Norm and distance, each with an interval from resampling the examples of both sets. Resamples are biased upward
        once more, so their distribution is moved to the deviation it belongs to; the interval covers the mean deviation
        of samples of this size, and less `null_mean` the mean excess.
    """
    rng = np.random.default_rng(seed)
    first_half = draw_halves(pool.norms.shape[1] // 2, DRAWS, rng)
    points = zip(geometry.profiles(), reference.profiles(), strict=True)
    boots = zip(_resample_profiles(geometry, rng), _resample_profiles(reference, rng), strict=True)
    nulls = zip(pool.profiles(first_half), pool.profiles(1 - first_half), strict=True)
    effects = [
        standardised_difference(*values) for values in zip(geometry.per_example(), reference.per_example(), strict=True)
    ]
    measured = []
    for (profile, reference_profile), resampled_profiles, null_profiles, effect_size in zip(
        points, boots, nulls, effects, strict=True
    ):
        observed_deviation, null_values = (
            float(mean_deviation(profile, reference_profile)[0]),
            mean_deviation(*null_profiles),
        )
        low, high = recentred_interval(observed_deviation, mean_deviation(*resampled_profiles))
        measured.append(
            MeasuredDeviation(
                signed=signed_log_ratio(profile, reference_profile)[0],
                effect=effect_size,
                value=observed_deviation,
                ci95=(max(low, 0.0), high),
                null_mean=float(null_values.mean()),
                null_upper=float(np.percentile(null_values, 95)),
            )
        )
    return measured[0], measured[1]


def measure_realignments(
    before: StateGeometry, after: StateGeometry, reference: StateGeometry, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Norm and distance realignment: the deviation that a plan removes, negative where it adds.

    A plan moves ID examples too. What it does to an ID set beside the OOD one is the control: call this for both.

    Args:
        before, after: the same examples in the same order under the full model and under a plan, over the layers it
            keeps.
        reference: ID examples under the full model, over the same layers.
        seed: of the resampling.

    Returns:
        Norm and distance, each with an interval from resampling the examples of both sets, an example before and after
        the plan as one.

    Raises:
        ValueError: the examples before and after differ in number.
    """
    if before.norms.shape != after.norms.shape:
        raise ValueError(f"before and after differ in layers or examples: {before.norms.shape}, {after.norms.shape}")
    rng = np.random.default_rng(seed)
    counts = resample_examples(before.norms.shape[1], DRAWS, rng)
    points = zip(before.profiles(), after.profiles(), reference.profiles(), strict=True)
    boots = zip(before.profiles(counts), after.profiles(counts), _resample_profiles(reference, rng), strict=True)
    estimates = []
    for profiles, resampled_profiles in zip(points, boots, strict=True):
        realigned = float(removed_deviation(*profiles)[0])
        estimates.append(
            Estimate(value=realigned, ci95=recentred_interval(realigned, removed_deviation(*resampled_profiles)))
        )
    return estimates[0], estimates[1]


def removed_deviation(before: np.ndarray, after: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Deviation before less deviation after, of profiles of shape (..., layer); result (...)."""
    return mean_deviation(before, reference) - mean_deviation(after, reference)


def _resample_profiles(shape: StateGeometry, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return shape.profiles(resample_examples(shape.norms.shape[1], DRAWS, rng))


def recentred_interval(estimate: float, draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values, moved so that their mean is the estimate."""
    low, high = np.percentile(draws - draws.mean(), [2.5, 97.5])
    return estimate + float(low), estimate + float(high)


def bootstrap_bands(shape: StateGeometry, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap bands of the norm and the distance profile, each of shape (layer, 2)."""
    norm, distance = _resample_profiles(shape, np.random.default_rng(seed))
    return tuple(np.percentile(boot, [2.5, 97.5], axis=0).T for boot in (norm, distance))
