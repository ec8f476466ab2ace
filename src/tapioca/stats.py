"""Paired statistics: what a plan changed, with intervals that resample groups, and the verdict they allow.

Scores come in higher-is-better (errors negated). An *effect* is above 0 where the plan is better:
planned - full for accuracies, 1 - planned/full for errors, both from weighted means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats

from tapioca.errors import NonFiniteError
from tapioca.records import Gain, Metric, Verdict

RESAMPLES = 9_999
LEVEL = 0.95


def effect(full: np.ndarray, planned: np.ndarray, weights: np.ndarray, metric: Metric) -> float:
    """Effect of a plan on one metric, from per-example scores of shape (example,)."""
    top, bottom = _parts(full, planned, weights, metric)
    return float(top.sum() / bottom.sum())


def effects(
    full: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    groups: Sequence[str],
    metric: Metric,
    draws: int,
    seed: int = 0,
) -> np.ndarray:
    """Effects of many plans, and resamples that are of the same groups for all of them.

    Args:
        full: per-example scores of the full model, (example,).
        rows: of the plans, (plan, example).
        weights, groups, metric: as for `compare`.
        draws: resamples of whole groups.
        seed: of the resamples.

    Returns:
        float64 of shape (1 + draw, plan); at 0 stand the effects on the examples as they are.
    """
    top, bottom = _parts(full, rows, weights, metric)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    count = int(index.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    counts = np.concatenate([np.ones((1, count)), drawn])
    tops = np.stack([np.bincount(index, weights=row) for row in top])
    found: np.ndarray = counts @ tops.T / (counts @ np.bincount(index, weights=bottom))[:, None]
    return found


def compare(
    full: np.ndarray,
    planned: np.ndarray,
    weights: np.ndarray,
    groups: Sequence[str],
    metric: Metric,
    seed: int = 0,
) -> Gain:
    """Judge a plan against the full model on the same examples.

    The interval is a percentile bootstrap over groups of the effect; it decides. For accuracies one win
    and one loss are added to it, so that a handful of changed answers is not over-trusted. The p-value is
    McNemar's exact test for accuracies and Wilcoxon's signed-rank test for errors, both without
    regard to groups, as description.

    Args:
        full, planned: scores of shape (example,), float64.
        weights: share of each example in the means, shape (example,).
        groups: what is resampled as one, per example.
        metric: what the scores are.
        seed: of the bootstrap.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    if not (np.isfinite(full).all() and np.isfinite(planned).all()):
        raise NonFiniteError("a score is NaN or infinite; nothing can be judged on it")
    top, bottom = _parts(full, planned, weights, metric)
    improved, worsened = float(np.mean(planned > full)), float(np.mean(planned < full))
    gain = float(top.sum() / bottom.sum())
    test, p = _test(full, planned, metric)
    return Gain(
        metric=metric,
        n=len(full),
        groups=len(set(groups)),
        full=float(np.average(full, weights=weights)),
        planned=float(np.average(planned, weights=weights)),
        gain=gain,
        ci95=ratio_interval(*_guarded(top, bottom, groups, metric), seed),
        p=p,
        test=test,
        improved=improved,
        worsened=worsened,
        tail_only=gain * (improved - worsened) < 0,
    )


def ratio_interval(top: np.ndarray, bottom: np.ndarray, groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of sum(top) / sum(bottom), resampling whole groups."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    tops, bottoms = np.bincount(index, weights=top), np.bincount(index, weights=bottom)
    if len(tops) < 2 or np.ptp(tops) == 0 == np.ptp(bottoms):
        point = float(top.sum() / bottom.sum())
        return point, point
    found = scipy_stats.bootstrap(
        (tops, bottoms),
        lambda t, b, axis: t.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 20_000_000 // len(tops)),
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def mean_interval(values: np.ndarray, weights: np.ndarray, groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % interval of a weighted mean, resampling whole groups."""
    return ratio_interval(values * weights, weights, groups, seed)


def resampled_means(
    values: np.ndarray, weights: np.ndarray, groups: Sequence[str], draws: int, seed: int = 0
) -> np.ndarray:
    """Weighted means of several rows of scores, and the same of resampled groups: the same groups for every row.

    Args:
        values: (row, example).
        weights: share of each example in the means, (example,).
        groups: what is resampled as one, per example.
        draws: how many resamples.
        seed: of the resampling.

    Returns:
        (1 + draws, row); the first of the examples as they are.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    totals = np.bincount(index, weights=weights)
    sums = np.stack([np.bincount(index, weights=row * weights) for row in values], axis=1)
    rng, n = np.random.default_rng(seed), len(totals)
    counts = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=draws)])
    return (counts @ sums) / (counts @ totals)[:, None]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over the last axis, ties at their mean rank; 0 where one side is constant."""
    a, b = (scipy_stats.rankdata(side, axis=-1) - (side.shape[-1] + 1) / 2 for side in (first, second))
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    together = (a * b).sum(axis=-1)
    return np.divide(together, spread, out=np.zeros_like(together), where=spread > 0)


def resampled_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval from values of which the first is the estimate, the others are of resamples.

    It reaches the estimate even where all resamples fall short of it, as those of a correlation of 1 do.
    """
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values[1:], [tail, 100 - tail])
    return min(float(low), float(values[0])), max(float(high), float(values[0]))


def resampled_p(values: np.ndarray) -> float:
    """Two-sided bootstrap p-value that the estimate is 0: twice the share of resamples on the other side of it, the
    estimate counted among them."""
    fewer = min(int((values[1:] <= 0).sum()), int((values[1:] >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / len(values))


def as_strong(value: float, others: Sequence[float]) -> float | None:
    """Share of values that have the sign of `value` and are at least as large, it counted among them: (b + 1) / (m + 1);
    None where there are no others."""
    sign = -1.0 if value < 0 else 1.0
    return (sum(sign * other >= abs(value) for other in others) + 1) / (len(others) + 1) if others else None


def detectable(gain: Gain, n_test_groups: int, power: float = 0.8) -> float:
    """Smallest true effect found with the given power on `n_test_groups` groups, given the spread seen in `gain`."""
    quantiles = np.asarray(scipy_stats.norm.ppf([0.5 + LEVEL / 2, power]))
    standard_error = (gain.ci95[1] - gain.ci95[0]) / 2 / quantiles[0]
    return float(quantiles.sum() * standard_error * np.sqrt(gain.groups / n_test_groups))


def paired_p(full: np.ndarray, planned: np.ndarray, weights: np.ndarray, groups: Sequence[str]) -> float:
    """Two-sided p-value of a t-test over groups that the weighted mean difference is 0; 1 where nothing changed.

    It asks what the bootstrap interval asks, of means and by groups, at any number of digits.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, weights=(planned - full) * weights)
    if np.ptp(sums) == 0:
        return float(not sums.any())
    return float(scipy_stats.ttest_1samp(sums, 0.0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for being many by Holm's step-down method (1979), in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def decide(ood: Gain | None, reference: Gain | None) -> Verdict:
    """The verdict the held-out intervals allow.

    Args:
        ood: the best plan on the OOD test split; None where the search found no plan.
        reference: the same plan on the ID test split; None where there is no ID data.
    """
    if ood is None:
        return Verdict(
            action="keep the full model", reason="the search found no plan that scores higher than the full model"
        )
    tail = ood.tail_only
    note = " (tail only: the mean improves, most examples do not)" if tail else ""
    if ood.ci95[0] <= 0:
        shown = "makes OOD worse" if ood.ci95[1] < 0 else "shows no OOD gain"
        reason = f"on held-out data the plan {shown}: {ood}"
        return Verdict(action="keep the full model", reason=reason, tail_only=tail)
    gained = f"OOD gains on held-out data, {ood}{note}"
    if reference is None:
        reason = f"{gained}; ID was not measured (no reference data)"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=tail)
    margin = f"{100 * ood.metric.margin:g} {'point' if ood.metric.kind == 'accuracy' else '%'}"
    if reference.ci95[0] < -ood.metric.margin:
        harm = "is harmed" if reference.ci95[1] < 0 else f"may lose more than {margin}"
        reason = f"{gained}, but ID {harm}, {reference}"
        return Verdict(action="prune OOD traffic only", reason=reason, tail_only=tail)
    reason = f"{gained}, and ID loses less than {margin}, {reference}"
    return Verdict(action="prune", reason=reason, tail_only=tail)


def _parts(full: np.ndarray, planned: np.ndarray, weights: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Per-example numerators and denominators whose sums' ratio is the effect."""
    difference = (planned - full) * weights
    return difference, (weights if metric.kind == "accuracy" else -full * weights)


def _guarded(
    top: np.ndarray, bottom: np.ndarray, groups: Sequence[str], metric: Metric
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """For accuracies, one imagined win and one imagined loss more, each a group of its own.

    A bootstrap of a few changed answers, or of none, is far too sure of itself. Two pseudo-observations
    are what Agresti and Min (2005, Statistics in Medicine 24) add to paired proportions for that reason.
    """
    if metric.kind == "error":
        return top, bottom, list(groups)
    return np.append(top, [1.0, -1.0]), np.append(bottom, [1.0, 1.0]), [*groups, "imagined win", "imagined loss"]


def _test(full: np.ndarray, planned: np.ndarray, metric: Metric) -> tuple[str, float]:
    """Name and p-value of the describing test; 1 where no example changed."""
    wins, losses = int((planned > full).sum()), int((planned < full).sum())
    if metric.kind == "accuracy":
        return "McNemar, exact", float(scipy_stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return "Wilcoxon signed-rank", float(scipy_stats.wilcoxon(planned, full).pvalue) if wins + losses else 1.0
