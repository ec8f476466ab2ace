"""What a plan changed on the same examples, with intervals that resample groups.

Scores come in higher-is-better (errors negated). An *effect* is above 0 where the plan is better:
planned - full for accuracies, 1 - planned/full for errors, both from weighted means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats

from tapioca.errors import NonFiniteError
from tapioca.records import Gain, Metric
from tapioca.stats.resampling import CONFIDENCE_LEVEL, bootstrap_counts, ratio_interval


def measure_effect(full: np.ndarray, planned: np.ndarray, weights: np.ndarray, metric: Metric) -> float:
    """Effect of a plan on one metric, from per-example scores of shape (example,)."""
    numerators, denominators = _ratio_parts(full, planned, weights, metric)
    return float(numerators.sum() / denominators.sum())


def resample_effects(
    full: np.ndarray,
    planned: np.ndarray,
    weights: np.ndarray,
    groups: Sequence[str],
    metric: Metric,
    draws: int,
    seed: int = 0,
) -> np.ndarray:
    """Effects of many plans, and resamples that are of the same groups for all of them.

    Args:
        full: per-example scores of the full model, (example,).
        planned: of the plans, (plan, example).
        weights, groups, metric: as for `compare_paired_scores`.
        draws: resamples of whole groups.
        seed: of the resamples.

    Returns:
        float64 of shape (1 + draw, plan); at 0 stand the effects on the examples as they are.
    """
    numerators, denominators = _ratio_parts(full, planned, weights, metric)
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    counts = bootstrap_counts(int(index.max()) + 1, draws, np.random.default_rng(seed))
    group_numerators = np.stack([np.bincount(index, weights=row) for row in numerators])
    effect_draws: np.ndarray = (
        counts @ group_numerators.T / (counts @ np.bincount(index, weights=denominators))[:, None]
    )
    return effect_draws


def compare_paired_scores(
    full: np.ndarray, planned: np.ndarray, weights: np.ndarray, groups: Sequence[str], metric: Metric, seed: int = 0
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
    numerators, denominators = _ratio_parts(full, planned, weights, metric)
    improved, worsened = float(np.mean(planned > full)), float(np.mean(planned < full))
    gain = float(numerators.sum() / denominators.sum())
    test, p = _run_test(full, planned, metric)
    return Gain(
        metric=metric,
        n=len(full),
        groups=len(set(groups)),
        full=float(np.average(full, weights=weights)),
        planned=float(np.average(planned, weights=weights)),
        gain=gain,
        ci95=ratio_interval(*_add_pseudo_observations(numerators, denominators, groups, metric), seed),
        p=p,
        test=test,
        improved=improved,
        worsened=worsened,
        tail_only=gain * (improved - worsened) < 0,
    )


def smallest_detectable_effect(gain: Gain, n_test_groups: int, power: float = 0.8) -> float:
    """Smallest true effect found with the given power on `n_test_groups` groups, given the spread seen in `gain`."""
    quantiles = np.asarray(scipy_stats.norm.ppf([0.5 + CONFIDENCE_LEVEL / 2, power]))
    standard_error = (gain.ci95[1] - gain.ci95[0]) / 2 / quantiles[0]
    return float(quantiles.sum() * standard_error * np.sqrt(gain.groups / n_test_groups))


def _ratio_parts(
    full: np.ndarray, planned: np.ndarray, weights: np.ndarray, metric: Metric
) -> tuple[np.ndarray, np.ndarray]:
    """Per-example numerators and denominators whose sums' ratio is the effect."""
    difference = (planned - full) * weights
    return difference, (weights if metric.kind == "accuracy" else -full * weights)


def _add_pseudo_observations(
    numerators: np.ndarray, denominators: np.ndarray, groups: Sequence[str], metric: Metric
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """For accuracies, one imagined win and one imagined loss more, each a group of its own.

    A bootstrap of a few changed answers, or of none, is far too sure of itself. Two pseudo-observations
    are what Agresti and Min (2005, Statistics in Medicine 24) add to paired proportions for that reason.
    """
    if metric.kind == "error":
        return numerators, denominators, list(groups)
    return (
        np.append(numerators, [1.0, -1.0]),
        np.append(denominators, [1.0, 1.0]),
        [*groups, "imagined win", "imagined loss"],
    )


def _run_test(full: np.ndarray, planned: np.ndarray, metric: Metric) -> tuple[str, float]:
    """Name and p-value of the describing test; 1 where no example changed."""
    wins, losses = int((planned > full).sum()), int((planned < full).sum())
    if metric.kind == "accuracy":
        return "McNemar, exact", float(scipy_stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return "Wilcoxon signed-rank", float(scipy_stats.wilcoxon(planned, full).pvalue) if wins + losses else 1.0
