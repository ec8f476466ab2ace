"""Deviation of one profile from a reference, its interval and null, and the realignment of a plan."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, draw_halves, resample_examples
from tapioca.records import Estimate, ProfileKind

RESAMPLES = 1_000
"""Bootstrap resamples of examples."""
NULL_HALVES = 1_000
"""Random halves of ID examples that make the null of a deviation."""
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
        values, reference: one number per example, (..., layer, example); see `StateGeometry.per_example`.

    Returns:
        (..., layer), above 0 where `values` is larger, over the root of the two variances' mean; 0 where neither varies.
    """
    difference = values.mean(axis=-1) - reference.mean(axis=-1)
    spread = np.sqrt((values.var(axis=-1, ddof=1) + reference.var(axis=-1, ddof=1)) / 2)
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)


@dataclass(frozen=True)
class MeasuredDeviation:
    """A deviation with its bootstrap interval, its null and its effect size, for one kind of profile."""

    signed: tuple[float, ...]
    effect: tuple[float, ...]
    value: float
    ci95: tuple[float, float]
    null_mean: float
    null_upper: float


def measure_null(pool: StateGeometry, seed: int | np.random.Generator = 0) -> np.ndarray:
    """What two samples of one source deviate by, (kind, draw): random halves of ID examples, each as large as the sets
    that are judged by it. Every command's null is this one.

    Args:
        pool: twice as many examples as those sets, over the layers that are compared.
        seed: of the halves.
    """
    first_half = draw_halves(pool.n_examples // 2, NULL_HALVES, np.random.default_rng(seed))
    return mean_deviation(pool.profiles(first_half), pool.profiles(1 - first_half))


def measure_deviations(
    geometries: Sequence[StateGeometry], pool: StateGeometry, seed: int = 0
) -> list[dict[ProfileKind, MeasuredDeviation]]:
    """Deviation of each profile of some sets of examples from that of a reference, the first half of `pool`.

    The deviation is an average of absolute values, hence biased upward: two samples of one source
    differ too, which `measure_null` says, once for all sets.

    Args:
        geometries: the examples in question, each set as if it were the only one.
        pool: the examples to compare with, then as many of the same source, over the same layers.

    Returns:
        For each set by kind of profile, with an interval from resampling the examples of it and of the reference. Resamples
        are biased upward once more, so their distribution is moved to the deviation it belongs to; the interval covers the
        mean deviation of samples of this size, and less `null_mean` the mean excess.
    """
    rng = np.random.default_rng(seed)
    nulls, reference = measure_null(pool, rng), pool.select(examples=range(pool.n_examples // 2))
    return [_measure_deviation(geometry, reference, nulls, deepcopy(rng)) for geometry in geometries]


def _measure_deviation(
    geometry: StateGeometry, reference: StateGeometry, nulls: np.ndarray, rng: np.random.Generator
) -> dict[ProfileKind, MeasuredDeviation]:
    signed = signed_log_ratio(geometry.profiles(), reference.profiles())[:, 0]
    resampled = mean_deviation(_resample_profiles(geometry, rng), _resample_profiles(reference, rng))
    effects = standardised_difference(geometry.per_example(), reference.per_example())
    measured = {}
    for index, kind in enumerate(PROFILE_KINDS):
        value = float(np.abs(signed[index]).mean())
        low, high = recentred_interval(value, resampled[index])
        measured[kind] = MeasuredDeviation(
            signed=tuple(signed[index].tolist()),
            effect=tuple(effects[index].tolist()),
            value=value,
            ci95=(max(low, 0.0), high),
            null_mean=float(nulls[index].mean()),
            null_upper=float(np.percentile(nulls[index], 95)),
        )
    return measured


def measure_realignments(
    before: StateGeometry,
    after: StateGeometry,
    reference: StateGeometry,
    seed: int = 0,
    reference_after: StateGeometry | None = None,
) -> dict[ProfileKind, Estimate]:
    """Realignment of each profile: the deviation that a plan removes, negative where it adds.

    A plan moves ID examples too. What it does to an ID set beside the OOD one is the control: call this for both.

    Args:
        before, after: the same examples in the same order under the full model and under a plan, over the layers it
            keeps.
        reference: ID examples under the full model, over the same layers.
        reference_after: what the states after the plan are compared with; the same reference where none is given.

    Returns:
        By kind of profile, each with an interval from resampling the examples of both sets, an example before and after
        the plan as one.

    Raises:
        ValueError: the examples before and after differ in number.
    """
    if before.norms.shape != after.norms.shape:
        raise ValueError(f"before and after differ in layers or examples: {before.norms.shape}, {after.norms.shape}")
    rng = np.random.default_rng(seed)
    counts = resample_examples(before.n_examples, RESAMPLES, rng)
    reference_counts, reference_after = (
        resample_examples(reference.n_examples, RESAMPLES, rng),
        reference_after or reference,
    )
    values, resampled = (
        mean_deviation(before.profiles(drawn), reference.profiles(reference_drawn))
        - mean_deviation(after.profiles(drawn), reference_after.profiles(reference_drawn))
        for drawn, reference_drawn in ((None, None), (counts, reference_counts))
    )
    return {
        kind: Estimate(value=value, ci95=recentred_interval(value, draws))
        for kind, value, draws in zip(PROFILE_KINDS, values[:, 0].tolist(), resampled, strict=True)
    }


def removed_deviation(before: np.ndarray, after: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Deviation before less deviation after, of profiles of shape (..., layer); result (...)."""
    return mean_deviation(before, reference) - mean_deviation(after, reference)


def _resample_profiles(geometry: StateGeometry, rng: np.random.Generator) -> np.ndarray:
    return geometry.profiles(resample_examples(geometry.n_examples, RESAMPLES, rng))


def recentred_interval(estimate: float, draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values, moved so that their mean is the estimate."""
    low, high = np.percentile(draws - draws.mean(), [2.5, 97.5])
    return estimate + float(low), estimate + float(high)


def bootstrap_bands(geometry: StateGeometry, seed: int = 0) -> np.ndarray:
    """95 % bootstrap bands of the profiles, (kind, layer, 2)."""
    return np.moveaxis(
        np.percentile(_resample_profiles(geometry, np.random.default_rng(seed)), [2.5, 97.5], axis=1), 0, -1
    )
