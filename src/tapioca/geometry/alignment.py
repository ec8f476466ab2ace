"""Deviation of one profile from a reference, its interval and null, and the realignment of a plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.geometry.profiles import Shape, halves, resamples
from tapioca.records import Estimate

DRAWS = 1_000
FLOOR = 1e-12


def signed(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio of a profile to the reference, layer by layer; both (..., layer), floored away from zero."""
    return np.log(np.maximum(profile, FLOOR)) - np.log(np.maximum(reference, FLOOR))


def deviation(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean over layers of |log ratio to the reference|; inputs (..., layer), result (...)."""
    return np.abs(signed(profile, reference)).mean(axis=-1)


def effect(seen: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Standardised mean difference (Cohen's d), layer by layer: how many standard deviations of a single example two
    means differ by. Unlike a p-value it does not grow with the number of examples.

    Args:
        seen, reference: one number per example, (layer, example); see `Shape.per_example`.

    Returns:
        (layer,), above 0 where `seen` is larger, over the root of the two variances' mean; 0 where neither varies.
    """
    difference = seen.mean(axis=1) - reference.mean(axis=1)
    spread = np.sqrt((seen.var(axis=1, ddof=1) + reference.var(axis=1, ddof=1)) / 2)
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)


@dataclass(frozen=True)
class Measured:
    """A deviation with its bootstrap interval, its null and its effect size, for one kind of profile."""

    signed: np.ndarray
    effect: np.ndarray
    value: float
    ci95: tuple[float, float]
    null_mean: float
    null_upper: float


def measure(seen: Shape, reference: Shape, pool: Shape, seed: int = 0) -> tuple[Measured, Measured]:
    """Norm and distance deviation of `seen` from `reference`.

    The deviation is an average of absolute values, hence biased upward: two samples of one source
    differ too. The null is that difference for two disjoint samples of the reference's own source,
    drawn at random from `pool`. Give `pool` twice as many examples as `seen` and `reference` have,
    or its samples are of other sizes.

    Args:
        seen: the examples in question.
        reference: the examples to compare with, over the same layers.
        pool: examples of the reference's source, over the same layers.
        seed: of the resampling.

    Returns:
        Norm and distance, each with an interval from resampling the examples of both sets. Resamples are biased upward
        once more, so their distribution is moved to the deviation it belongs to; the interval covers the mean deviation
        of samples of this size, and less `null_mean` the mean excess.
    """
    rng = np.random.default_rng(seed)
    first = halves(pool.norms.shape[1] // 2, DRAWS, rng)
    points = zip(seen.profiles(), reference.profiles(), strict=True)
    boots = zip(_boot(seen, rng), _boot(reference, rng), strict=True)
    nulls = zip(pool.profiles(first), pool.profiles(1 - first), strict=True)
    effects = [effect(*values) for values in zip(seen.per_example(), reference.per_example(), strict=True)]
    found = []
    for (point, against), boot, null, size in zip(points, boots, nulls, effects, strict=True):
        value, null_values = float(deviation(point, against)[0]), deviation(*null)
        low, high = around(value, deviation(*boot))
        found.append(
            Measured(
                signed=signed(point, against)[0],
                effect=size,
                value=value,
                ci95=(max(low, 0.0), high),
                null_mean=float(null_values.mean()),
                null_upper=float(np.percentile(null_values, 95)),
            )
        )
    return found[0], found[1]


def realignment(before: Shape, after: Shape, reference: Shape, seed: int = 0) -> tuple[Estimate, Estimate]:
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
    counts = resamples(before.norms.shape[1], DRAWS, rng)
    points = zip(before.profiles(), after.profiles(), reference.profiles(), strict=True)
    boots = zip(before.profiles(counts), after.profiles(counts), _boot(reference, rng), strict=True)
    found = []
    for point, boot in zip(points, boots, strict=True):
        value = float(removed(*point)[0])
        found.append(Estimate(value=value, ci95=around(value, removed(*boot))))
    return found[0], found[1]


def removed(before: np.ndarray, after: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Deviation before less deviation after, of profiles of shape (..., layer); result (...)."""
    return deviation(before, reference) - deviation(after, reference)


def _boot(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return shape.profiles(resamples(shape.norms.shape[1], DRAWS, rng))


def around(value: float, draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values, moved so that their mean is the value found."""
    low, high = np.percentile(draws - draws.mean(), [2.5, 97.5])
    return value + float(low), value + float(high)


def bands(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap bands of the norm and the distance profile, each of shape (layer, 2)."""
    norm, distance = _boot(shape, np.random.default_rng(seed))
    return tuple(np.percentile(boot, [2.5, 97.5], axis=0).T for boot in (norm, distance))
