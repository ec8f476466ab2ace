"""What a plan changed on the same examples, with intervals that resample groups.

Scores come in higher-is-better (errors negated). An *effect* is above 0 where the plan is better:
planned - full for accuracies, 1 - planned/full for errors, both from weighted means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats as scipy_stats

from tapioca.errors import NonFiniteError
from tapioca.records import Gain, Metric
from tapioca.stats.resampling import CONFIDENCE_LEVEL, bootstrap_counts, ratio_interval, subset_interval


@dataclass(frozen=True, eq=False)
class Pairing:
    """Examples on which scores are compared, example by example, and resampled in whole groups.

    Attributes:
        weights: share of each example in the means, (example,).
        groups: what is resampled as one, per example; names or numbers.
        metric: what the scores are.
        seed: of every resampling, so that all that is resampled is of the same groups.
    """

    weights: np.ndarray
    groups: Sequence[str] | np.ndarray
    metric: Metric
    seed: int = 0

    def compare(self, full: np.ndarray, planned: np.ndarray) -> Gain:
        """Judge a plan against the full model.

        The interval is one of the effect over groups; it decides. For accuracies it is a percentile bootstrap with one win
        and one loss added, so that a handful of changed answers is not over-trusted; for errors it is that of random
        subsets, which holds for few groups and heavy tails. The p-value is
        McNemar's exact test for accuracies and Wilcoxon's signed-rank test for errors, both without
        regard to groups, as description.

        Args:
            full, planned: scores of shape (example,), float64.

        Raises:
            NonFiniteError: a score is NaN or infinite.
        """
        if not (np.isfinite(full).all() and np.isfinite(planned).all()):
            raise NonFiniteError("a score is NaN or infinite; nothing can be judged on it")
        improved, worsened = float(np.mean(planned > full)), float(np.mean(planned < full))
        gain = self.effect(full, planned)
        test, p = self._run_test(full, planned)
        return Gain(
            metric=self.metric,
            n=len(full),
            groups=len(self._group_names),
            full=float(np.average(full, weights=self.weights)),
            planned=float(np.average(planned, weights=self.weights)),
            gain=gain,
            ci95=self._effect_interval(full, planned),
            p=p,
            test=test,
            improved=improved,
            worsened=worsened,
            tail_only=gain * (improved - worsened) < 0,
            carriers=None if self.metric.kind == "accuracy" else self._count_carriers(full, planned),
            typical=None if self.metric.kind == "accuracy" else _find_typical_gain(full, planned),
        )

    def effect(self, full: np.ndarray, planned: np.ndarray) -> float:
        """Effect of a plan, from scores of shape (example,)."""
        numerators, denominators = self._ratio_parts(full, planned)
        return float(numerators.sum() / denominators.sum())

    def resample_effects(self, full: np.ndarray, planned: np.ndarray, draws: int) -> np.ndarray:
        """Effects of many plans, and of resampled groups, the same for all of them.

        Args:
            full: of the full model, (example,).
            planned: of the plans, (plan, example).
            draws: how many resamples.

        Returns:
            float64 of shape (1 + draw, plan); at 0 stand the effects on the examples as they are.
        """
        numerators, denominators = self._ratio_parts(full, planned)
        sums = np.stack([self._sum_by_group(row) for row in numerators])
        counts = self._resample_groups(draws)
        effects: np.ndarray = counts @ sums.T / (counts @ self._sum_by_group(denominators))[:, None]
        return effects

    def resample_means(self, values: np.ndarray, draws: int) -> np.ndarray:
        """Weighted means of several rows of scores, (row, example), and of resampled groups, the same for all of them.

        Returns:
            float64 of shape (1 + draw, row); at 0 stand the means of the examples as they are.
        """
        sums = np.stack([self._sum_by_group(row * self.weights) for row in values], axis=1)
        counts = self._resample_groups(draws)
        return (counts @ sums) / (counts @ self._sum_by_group(self.weights))[:, None]

    def mean_interval(self, values: np.ndarray) -> tuple[float, float]:
        """95 % interval of the weighted mean of scores of shape (example,)."""
        return self._ratio_interval(self._sum_by_group(values * self.weights), self._sum_by_group(self.weights))

    def paired_p(self, full: np.ndarray, planned: np.ndarray) -> float:
        """Two-sided p-value of a t-test over groups that the weighted mean difference is 0; 1 where nothing changed.

        It asks what the interval asks, of means and by groups, at any number of digits.
        """
        sums = self._sum_by_group((planned - full) * self.weights)
        if np.ptp(sums) == 0:
            return float(not sums.any())
        return float(scipy_stats.ttest_1samp(sums, 0.0).pvalue)

    @cached_property
    def _names_and_places(self) -> tuple[np.ndarray, np.ndarray]:
        """The groups in order, and which of them each example is of."""
        names, places = np.unique(np.asarray(self.groups), return_inverse=True)
        return names, places

    @property
    def _group_names(self) -> np.ndarray:
        return self._names_and_places[0]

    def _sum_by_group(self, values: np.ndarray) -> np.ndarray:
        """(group,), from (example,)."""
        return np.bincount(self._names_and_places[1], weights=values)

    def _resample_groups(self, draws: int) -> np.ndarray:
        return bootstrap_counts(len(self._group_names), draws, np.random.default_rng(self.seed))

    def _ratio_parts(self, full: np.ndarray, planned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per-example numerators and denominators whose sums' ratio is the effect."""
        difference = (planned - full) * self.weights
        return difference, (self.weights if self.metric.kind == "accuracy" else -full * self.weights)

    def _effect_interval(self, full: np.ndarray, planned: np.ndarray) -> tuple[float, float]:
        """95 % interval of the effect; of accuracies with one imagined win and one imagined loss more, each a group.

        A bootstrap of a few changed answers, or of none, is far too sure of itself. Two pseudo-observations
        are what Agresti and Min (2005, Statistics in Medicine 24) add to paired proportions for that reason.
        """
        numerators, denominators = map(self._sum_by_group, self._ratio_parts(full, planned))
        if self.metric.kind == "accuracy":
            places = np.searchsorted(self._group_names, ["imagined loss", "imagined win"])
            numerators = np.insert(numerators, places, [-1.0, 1.0])
            denominators = np.insert(denominators, places, 1.0)
        return self._ratio_interval(numerators, denominators)

    def _ratio_interval(self, numerators: np.ndarray, denominators: np.ndarray) -> tuple[float, float]:
        """95 % interval of a ratio of sums, both (group,): of right answers by bootstrap, of errors by subsets."""
        interval = ratio_interval if self.metric.kind == "accuracy" else subset_interval
        return interval(numerators, denominators, self.seed)

    def _count_carriers(self, full: np.ndarray, planned: np.ndarray) -> int:
        """How many examples make half of all change; none where nothing changed."""
        changes = np.sort(np.abs((planned - full) * self.weights))[::-1]
        return int(np.searchsorted(np.cumsum(changes), changes.sum() / 2)) + 1 if changes[0] else 0

    def _run_test(self, full: np.ndarray, planned: np.ndarray) -> tuple[str, float]:
        """Name and p-value of the describing test; 1 where no example changed."""
        wins, losses = int((planned > full).sum()), int((planned < full).sum())
        if self.metric.kind == "accuracy":
            return "McNemar, exact", float(scipy_stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
        return "Wilcoxon signed-rank", float(scipy_stats.wilcoxon(planned, full).pvalue) if wins + losses else 1.0


def _find_typical_gain(full: np.ndarray, planned: np.ndarray) -> float | None:
    """The median of each example's own gain, from scores of shape (example,); an error of 0 that stays 0 gains nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(full == planned, 1.0, planned / full)
    median = float(np.median(ratios))
    return 1 - median if np.isfinite(median) else None


def smallest_detectable_effect(gain: Gain, n_test_groups: int, power: float = 0.8) -> float:
    """Smallest true effect found with the given power on `n_test_groups` groups, given the spread seen in `gain`."""
    quantiles = np.asarray(scipy_stats.norm.ppf([0.5 + CONFIDENCE_LEVEL / 2, power]))
    standard_error = (gain.ci95[1] - gain.ci95[0]) / 2 / quantiles[0]
    return float(quantiles.sum() * standard_error * np.sqrt(gain.groups / n_test_groups))
