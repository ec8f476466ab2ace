"""Deviation of one profile from a reference, its interval, and the null of two samples of the same kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.geometry.profiles import Shape, halves, resamples

DRAWS = 1_000
FLOOR = 1e-12


def signed(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio of a profile to the reference, layer by layer; both (..., layer), floored away from zero."""
    return np.log(np.maximum(profile, FLOOR)) - np.log(np.maximum(reference, FLOOR))


def deviation(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean over layers of |log ratio to the reference|; inputs (..., layer), result (...)."""
    return np.abs(signed(profile, reference)).mean(axis=-1)


@dataclass(frozen=True)
class Measured:
    """A deviation with its bootstrap interval and its null, for one kind of profile."""

    signed: np.ndarray
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
        Norm and distance, each with a percentile interval from resampling the examples of both sets.
    """
    rng = np.random.default_rng(seed)
    first = halves(pool.norms.shape[1] // 2, DRAWS, rng)
    points = zip(seen.profiles(), reference.profiles(), strict=True)
    boots = zip(_boot(seen, rng), _boot(reference, rng), strict=True)
    nulls = zip(pool.profiles(first), pool.profiles(1 - first), strict=True)
    found = []
    for (point, against), (boot, boot_against), (null, null_against) in zip(points, boots, nulls, strict=True):
        low, high = np.percentile(deviation(boot, boot_against), [2.5, 97.5])
        null_values = deviation(null, null_against)
        found.append(
            Measured(
                signed=signed(point, against)[0],
                value=float(deviation(point, against)[0]),
                ci95=(float(low), float(high)),
                null_mean=float(null_values.mean()),
                null_upper=float(np.percentile(null_values, 95)),
            )
        )
    return found[0], found[1]


def _boot(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return shape.profiles(resamples(shape.norms.shape[1], DRAWS, rng))


def bands(shape: Shape, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """95 % bootstrap bands of the norm and the distance profile, each of shape (layer, 2)."""
    norm, distance = _boot(shape, np.random.default_rng(seed))
    return tuple(np.percentile(boot, [2.5, 97.5], axis=0).T for boot in (norm, distance))
