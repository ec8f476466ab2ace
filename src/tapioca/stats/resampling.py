"""Bootstrap: resamples of whole groups, and the intervals and p-values they give."""

from collections.abc import Iterator

import numpy as np
from scipy import stats as scipy_stats

RESAMPLES = 9_999
MEDIAN_RESAMPLES = 1_999
"""Of medians, which are looked at again and again while something is timed."""

ALL_SUBSETS = 12
"""Groups of which all subsets are looked at."""

UNBOUNDED = 1e9
"""An end that no number bounds, as where most errors of the full model are 0: JSON has no infinity."""

CONFIDENCE_LEVEL = 0.95
"""Of every interval."""


def bootstrap_counts(size: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `size` things counts: once in the first row, then as often as it was drawn, (1 + draws, size)."""
    return np.concatenate([np.ones((1, size)), rng.multinomial(size, np.full(size, 1 / size), size=draws)])


def widen(values: np.ndarray, *counts: int) -> np.ndarray:
    """Resamples moved away from the estimate they belong to, as few independent things require.

    Args:
        values: the estimate, then its resamples.
        counts: of the things resampled, each kind of them on its own; the smallest above 1 decides.
    """
    smallest_count = min((count for count in counts if count > 1), default=0)
    moved: np.ndarray = values[0] + (values - values[0]) * small_sample_factor(smallest_count)
    return moved


def small_sample_factor(count: int) -> float:
    """How much wider an interval from a bootstrap of so many independent things must be; 1 of none or one, which are not
    resampled.

    A bootstrap of n things has a variance too small by a factor of (n - 1) / n and tails as light as a normal's, so that
    three models that differ give intervals far too narrow. This undoes the former and puts quantiles of Student's t in
    the place of the normal's; after the "expanded" intervals of Hesterberg (2015, The American Statistician 69).
    """
    if count < 2:
        return 1.0
    quantiles = (
        scipy_stats.t.ppf(0.5 + CONFIDENCE_LEVEL / 2, count - 1),
        scipy_stats.norm.ppf(0.5 + CONFIDENCE_LEVEL / 2),
    )
    return float(np.sqrt(count / (count - 1)) * quantiles[0] / quantiles[1])


def ratio_interval(numerators: np.ndarray, denominators: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of sum(numerators) / sum(denominators), both (group,), resampling groups."""
    if len(numerators) < 2 or np.ptp(numerators) == 0 == np.ptp(denominators):
        point = float(numerators.sum() / denominators.sum())
        return point, point
    bounds = scipy_stats.bootstrap(
        (numerators, denominators),
        lambda t, b, axis: t.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 20_000_000 // len(numerators)),
        confidence_level=CONFIDENCE_LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(bounds.low), float(bounds.high)


def subset_interval(numerators: np.ndarray, denominators: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of sum(numerators) / sum(denominators), both (group,), from random subsets of the groups.

    A ratio r is in it where a test that turns the signs of numerator - r * denominator over does not reject r. Which
    ratios that are can be read off the ratios of all subsets (Hartigan 1969, JASA 64), so each group is in a subset with
    probability 1/2. Where the two models could change places the interval misses at most 2.5 % on either side, of any
    number of groups from 6 up and however heavy the tails; a bootstrap misses three times as often at 8 groups.
    Denominators are not negative; up to `ALL_SUBSETS` groups no subset is left to chance.
    """
    count = len(numerators)
    if count < 2 or np.ptp(numerators) == 0 == np.ptp(denominators):
        point = float(numerators.sum() / denominators.sum())
        return point, point
    if count <= ALL_SUBSETS:
        subsets = np.arange(1, 2**count)[:, None] >> np.arange(count) & 1
    else:
        subsets = np.random.default_rng(seed).integers(0, 2, (RESAMPLES, count), dtype=np.int8)
    sums = np.concatenate([part @ np.stack([numerators, denominators], 1) for part in _in_parts(subsets)])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = sums[:, 0] / sums[:, 1]
    ratios = np.sort(ratios[~np.isnan(ratios)]).clip(-UNBOUNDED, UNBOUNDED)  # a subset of nothing says nothing
    tail = max(1, int((1 - CONFIDENCE_LEVEL) / 2 * (len(ratios) + 1)))
    return float(ratios[tail - 1]), float(ratios[-tail])


def _in_parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Rows as numbers that can be multiplied, a few at a time."""
    size = max(1, 20_000_000 // rows.shape[1])
    return (rows[start : start + size].astype(np.float64) for start in range(0, len(rows), size))


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval from values of which the first is the estimate, the others are of resamples.

    It reaches the estimate even where all resamples fall short of it, as those of a correlation of 1 do; of what was not
    resampled it is the estimate alone.
    """
    tail = 50 * (1 - CONFIDENCE_LEVEL)
    low, high = np.percentile(values[1:] if len(values) > 1 else values, [tail, 100 - tail])
    return min(float(low), float(values[0])), max(float(high), float(values[0]))


def median_interval(values: np.ndarray, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """The median of values, (n,), and its 95 % percentile bootstrap interval, widened as few values require."""
    rng, count = np.random.default_rng(seed), len(values)
    draws = values[rng.integers(0, count, (MEDIAN_RESAMPLES, count))]
    medians = widen(np.concatenate([[np.median(values)], np.median(draws, axis=1)]), count)
    return float(medians[0]), percentile_interval(medians)


def bootstrap_p(values: np.ndarray) -> float:
    """Two-sided bootstrap p-value that the estimate is 0: twice the share of resamples on the other side of it, the
    estimate counted among them."""
    n_opposite = min(int((values[1:] <= 0).sum()), int((values[1:] >= 0).sum()))
    return min(1.0, 2 * (n_opposite + 1) / len(values))
