"""Paired statistics against hand-computed cases, their coverage on simulated data, and the verdict rule."""

from __future__ import annotations

import re
from itertools import permutations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tapioca.errors import NonFiniteError
from tapioca.plan import Plan
from tapioca.records import Gain, Metric, Preflight
from tapioca.report.format import describe_carriers, describe_shortage
from tapioca.stats import (
    Pairing,
    bootstrap_p,
    correct_holm,
    decide_verdict,
    percentile_interval,
    rank_correlation,
    ratio_interval,
    share_as_strong,
    smallest_detectable_effect,
    subset_interval,
)

ACCURACY = Metric(name="accuracy", kind="accuracy")
ERROR = Metric(name="squared error", kind="error")


def names(n: int) -> list[str]:
    return [str(at) for at in range(n)]


def gain_of(ci95: tuple[float, float], kind: str = "accuracy", tail_only: bool = False) -> Gain:
    metric = ACCURACY if kind == "accuracy" else ERROR
    return Gain(
        metric=metric, n=100, groups=100, full=0.5, planned=0.5, gain=sum(ci95) / 2, ci95=ci95, p=0.5, test="t",
        improved=0.1, worsened=0.1, tail_only=tail_only,
    )  # fmt: skip


def test_accuracy_by_hand() -> None:
    full, planned = np.array([1.0, 0, 0, 1, 0, 0, 1, 1]), np.array([1.0, 1, 1, 0, 1, 0, 1, 1])
    found = Pairing(np.ones(8), names(8), ACCURACY).compare(full, planned)
    assert found.gain == pytest.approx(2 / 8)
    assert (found.improved, found.worsened) == (3 / 8, 1 / 8)
    assert found.p == pytest.approx(2 * (1 + 4) / 2**4)  # exact McNemar: 3 wins, 1 loss
    assert found.test == "McNemar, exact"


def test_holm_by_hand() -> None:
    assert correct_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert correct_holm([0.2]) == [0.2]


def test_the_paired_p_value_is_a_t_test_over_groups() -> None:
    full, planned, weights = np.zeros(4), np.array([1.0, 3.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0, 1.0])
    expected = scipy_stats.ttest_1samp([1.0 + 3.0, 4.0, 6.0], 0.0).pvalue
    assert Pairing(weights, ["a", "a", "b", "c"], ERROR).paired_p(full, planned) == pytest.approx(expected)
    assert Pairing(weights, names(4), ERROR).paired_p(full, full) == 1.0
    assert Pairing(np.ones(4), names(4), ERROR).paired_p(full, full + 1) == 0.0


def test_error_by_hand() -> None:
    full, planned = -np.array([1.0, 2, 4, 1]), -np.array([0.5, 1, 2, 2.5])
    found = Pairing(np.ones(4), names(4), ERROR).compare(full, planned)
    assert found.gain == pytest.approx(1 - 6 / 8)
    assert found.test == "Wilcoxon signed-rank"


def test_weights_make_a_ratio_of_sums() -> None:
    full, planned, weights = -np.array([1.0, 3.0]), -np.array([2.0, 2.0]), np.array([10.0, 1.0])
    assert Pairing(weights, names(2), ERROR).compare(full, planned).gain == pytest.approx(1 - 22 / 13)


def test_tail_only_where_mean_and_share_disagree() -> None:
    full, planned = -np.array([1.0] * 24 + [10.0] * 16), -np.array([1.1] * 24 + [1.0] * 16)
    found = Pairing(np.ones(40), names(40), ERROR).compare(full, planned)
    assert found.gain == pytest.approx(1 - 42.4 / 184)
    assert found.tail_only
    verdict = decide_verdict(found, None)
    assert (verdict.action, verdict.tail_only) == ("prune OOD traffic only", True)
    assert "(tail only: the mean improves, most examples do not)" in verdict.reason


def test_one_large_win_is_no_gain() -> None:
    full, planned = -np.array([1.0] * 9 + [100.0]), -np.array([1.1] * 9 + [1.0])
    found = Pairing(np.ones(10), names(10), ERROR).compare(full, planned)
    assert found.gain == pytest.approx(1 - 10.9 / 109)
    assert found.tail_only
    assert decide_verdict(found, None).action == "keep the full model"


def test_nothing_changed() -> None:
    found = Pairing(np.ones(5), names(5), ACCURACY).compare(np.ones(5), np.ones(5))
    assert (found.gain, found.p, found.tail_only) == (0.0, 1.0, False)
    assert found.ci95[0] < -0.2 < 0.2 < found.ci95[1]  # five unchanged answers exclude little


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_never_judged(bad: float) -> None:
    with pytest.raises(NonFiniteError):
        Pairing(np.ones(2), names(2), ACCURACY).compare(np.array([0.0, bad]), np.zeros(2))


def test_interval_equals_a_direct_bootstrap() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1, 2, 200)
    low, high = Pairing(np.ones(200), names(200), ERROR, 3).mean_interval(values)
    direct = np.percentile(rng.choice(values, (20_000, 200)).mean(1), [2.5, 97.5])
    assert [low, high] == pytest.approx(direct, abs=0.02)


@pytest.mark.parametrize("metric", [ACCURACY, ERROR])
def test_resampled_effects_of_many_plans_take_the_same_groups(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    full, rows, weights = -rng.uniform(1, 2, 60), -rng.uniform(1, 2, (3, 60)), rng.uniform(1, 3, 60)
    rows[2] = rows[1]
    pairing = Pairing(weights, [str(at // 2) for at in range(60)], metric, 1)
    found = pairing.resample_effects(full, rows, 2_000)
    assert found.shape == (2_001, 3)
    assert found[0] == pytest.approx([pairing.effect(full, row) for row in rows])
    assert np.array_equal(found[:, 1], found[:, 2])
    for row, draws in zip(rows, found.T, strict=True):
        interval = effects_interval(full, row, weights, metric)
        assert np.percentile(draws[1:], [2.5, 97.5]) == pytest.approx(interval, abs=0.15 * (interval[1] - interval[0]))


def effects_interval(full: np.ndarray, row: np.ndarray, weights: np.ndarray, metric: Metric) -> tuple[float, float]:
    """The interval of one plan's effect, resampling the same pairs."""
    bottom = weights if metric.kind == "accuracy" else -full * weights
    sums = [np.bincount(np.arange(60) // 2, weights=part) for part in ((row - full) * weights, bottom)]
    return ratio_interval(*sums)


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(0, 1, 40), 10)
    alone = Pairing(np.ones(400), names(400), ERROR).mean_interval(values)
    grouped = Pairing(np.ones(400), [str(at // 10) for at in range(400)], ERROR).mean_interval(values)
    assert (grouped[1] - grouped[0]) / (alone[1] - alone[0]) == pytest.approx(np.sqrt(10), rel=0.15)


def test_a_handful_of_changed_answers_proves_nothing() -> None:
    """Four wins and no loss in a hundred: McNemar's exact p is 0.125, so the interval must hold 0."""
    full, planned = np.zeros(100), np.array([1.0] * 4 + [0.0] * 96)
    found = Pairing(np.ones(100), names(100), ACCURACY).compare(full, planned)
    assert found.p == pytest.approx(0.125)
    assert found.ci95[0] <= 0


def test_intervals_are_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert ratio_interval(values, np.ones(50), 1) == ratio_interval(values, np.ones(50), 1)


@pytest.mark.parametrize("kind", ["accuracy", "error"])
def test_coverage_on_simulated_data(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """95 % intervals cover the truth in 95 % of simulations, up to what 300 simulations can tell."""
    monkeypatch.setattr("tapioca.stats.resampling.RESAMPLES", 999)
    rng, hits, runs, n = np.random.default_rng(1), 0, 300, 200
    for run in range(runs):
        if kind == "accuracy":
            full = (rng.random(n) < 0.5).astype(float)
            flipped = rng.random(n) < 0.2
            planned = np.where(flipped, 1 - full, full)
            truth = 0.0
        else:
            full = -rng.exponential(1, n)
            planned = full * rng.uniform(0.4, 1.2, n)
            truth = 0.2
        found = Pairing(np.ones(n), names(n), ACCURACY if kind == "accuracy" else ERROR, run).compare(full, planned)
        hits += found.ci95[0] <= truth <= found.ci95[1]
    low, high = scipy_stats.binom.interval(0.999, runs, 0.95)
    assert low <= hits <= high


def test_detectable_gain_matches_the_textbook() -> None:
    rng = np.random.default_rng(0)
    full = (rng.random(2000) < 0.5).astype(float)
    planned = np.where(rng.random(2000) < 0.3, 1 - full, full)
    found = Pairing(np.ones(2000), names(2000), ACCURACY).compare(full, planned)
    expected = (1.96 + 0.8416) * np.sqrt(0.3 / 500)
    assert smallest_detectable_effect(found, 500) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("ood", "reference", "action"),
    [
        (None, None, "keep the full model"),
        ((-0.01, 0.05), (0.0, 0.0), "keep the full model"),
        ((-0.05, -0.01), (0.0, 0.0), "keep the full model"),
        ((0.0, 0.05), (0.0, 0.0), "keep the full model"),
        ((0.01, 0.05), (-0.009, 0.02), "prune"),
        ((0.01, 0.05), (-0.02, 0.02), "prune OOD traffic only"),
        ((0.01, 0.05), (-0.2, -0.1), "prune OOD traffic only"),
        ((0.01, 0.05), None, "prune OOD traffic only"),
    ],
)
def test_verdicts(ood: tuple[float, float] | None, reference: tuple[float, float] | None, action: str) -> None:
    verdict = decide_verdict(gain_of(ood) if ood else None, gain_of(reference) if reference else None)
    assert verdict.action == action


def test_verdicts_say_why() -> None:
    assert decide_verdict(gain_of((0.01, 0.05)), gain_of((-0.2, -0.1))).reason.endswith(
        "but ID is harmed, −15.0 points [−20.0, −10.0]"
    )
    assert "may lose more than 1 point" in decide_verdict(gain_of((0.01, 0.05)), gain_of((-0.02, 0.02))).reason
    assert "ID was not measured" in decide_verdict(gain_of((0.01, 0.05)), None).reason
    assert "makes OOD worse" in decide_verdict(gain_of((-0.05, -0.01)), None).reason


def test_the_margin_of_errors_is_two_percent() -> None:
    assert decide_verdict(gain_of((0.1, 0.2), "error"), gain_of((-0.019, 0.01), "error")).action == "prune"
    assert (
        decide_verdict(gain_of((0.1, 0.2), "error"), gain_of((-0.021, 0.01), "error")).action
        == "prune OOD traffic only"
    )


def test_gains_as_text() -> None:
    assert str(gain_of((0.004, 0.038))) == "+2.1 points [+0.4, +3.8]"
    whole = gain_of((-0.02, 0.02)).of_full_model()
    assert (whole.ci95, whole.p) == ((0.0, 0.0), None)
    assert str(gain_of((0.2, 0.3), "error")) == "error × 0.750 [0.700, 0.800]"


def test_rank_correlation_is_scipys_and_0_for_a_constant() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (2, 5, 9)).astype(float)  # with ties
    expected = [scipy_stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0


def test_equal_rank_correlations_are_equal_numbers() -> None:
    """Of five ranks there are 21 correlations, 0 among them; p-values count those that are as large."""
    orders = np.array(list(permutations(range(5))), dtype=float)
    found = rank_correlation(np.arange(5.0)[None], orders)
    assert sorted(set(found)) == pytest.approx(np.linspace(-1, 1, 21), abs=1e-12)
    assert len(set(found)) == 21
    assert not np.signbit(found[found == 0]).any()


def test_resampled_means_resample_groups_and_rows_together() -> None:
    values = np.array([[1.0, 3.0, 5.0, 7.0], [2.0, 4.0, 6.0, 8.0]])
    found = Pairing(np.array([1.0, 1.0, 2.0, 2.0]), ["a", "a", "b", "b"], ERROR).resample_means(values, 200)
    assert found.shape == (201, 2)
    assert found[0] == pytest.approx([(4 + 24) / 6, (6 + 28) / 6])
    assert found[:, 1] - found[:, 0] == pytest.approx(np.ones(201))  # row 2 is row 1 and 1
    assert set(found[1:, 0].round(9)) == {2.0, 6.0, round(28 / 6, 9)}  # only group a, only b, or both


def test_resampled_interval_and_p() -> None:
    draws = np.concatenate([[1.0], np.linspace(-0.2, 0.9, 999)])
    assert percentile_interval(draws) == (pytest.approx(-0.1725, abs=1e-3), 1.0)
    below = int((draws[1:] <= 0).sum())
    assert bootstrap_p(draws) == pytest.approx(2 * (below + 1) / 1000)
    assert bootstrap_p(np.zeros(11)) == 1.0
    assert bootstrap_p(-np.ones(1000)) == pytest.approx(0.002)


def test_as_strong_counts_the_same_sign_and_itself() -> None:
    assert share_as_strong(-0.5, [-0.6, 0.9, -0.5, -0.1]) == pytest.approx(3 / 5)
    assert share_as_strong(0.5, [0.4, -0.9]) == pytest.approx(1 / 3)
    assert share_as_strong(0.5, []) is None


def test_subset_intervals_by_hand() -> None:
    """Of three groups there are seven subsets, whose smallest and largest ratios are all that can be said."""
    numerators, denominators = np.array([1.0, 2.0, 6.0]), np.array([2.0, 2.0, 3.0])
    assert subset_interval(numerators, denominators) == (0.5, 2.0)
    assert subset_interval(numerators[:1], denominators[:1]) == (0.5, 0.5)
    assert subset_interval(np.zeros(5), np.ones(5)) == (0.0, 0.0)
    assert subset_interval(np.array([1.0, 1.0]), np.array([0.0, 2.0])) == (0.5, 1e9)


@pytest.mark.parametrize("size", [6, 8, 10])
@pytest.mark.parametrize("power", [1, 6])
def test_the_level_of_errors_is_kept_exactly(size: int, power: int) -> None:
    """Of all ways in which full model and plan could have changed places, 2.5 % at most look better, and as many worse."""
    rng = np.random.default_rng(size)
    one, other = rng.chisquare(1, (2, size)) ** power
    pairing, outcomes = Pairing(np.ones(size), names(size), ERROR), []
    for places in range(2**size):
        swapped = (places >> np.arange(size)) & 1 == 1
        full, planned = np.where(swapped, one, other), np.where(swapped, other, one)
        low, high = pairing.compare(-full, -planned).ci95
        outcomes.append((low > 0, high < 0))
    better, worse = np.mean(outcomes, axis=0)
    assert 0 < better <= 0.025
    assert 0 < worse <= 0.025


def test_subsets_of_many_groups_are_drawn_and_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    full = rng.chisquare(1, 400)
    planned = 0.5 * full * np.exp(0.1 * rng.standard_normal(400))
    low, high = subset_interval(full - planned, full, seed=3)
    assert (low, high) == subset_interval(full - planned, full, seed=3)
    gain = 1 - planned.sum() / full.sum()
    error = np.std(full - planned - gain * full, ddof=1) / np.sqrt(400) / full.mean()
    assert [low, high] == pytest.approx([gain - 1.97 * error, gain + 1.97 * error], rel=0.01)


def test_a_mean_that_rests_on_few_examples_says_so() -> None:
    full = -np.array([1.0] * 39 + [100.0])
    planned = -np.array([0.9] * 39 + [50.0])
    found = Pairing(np.ones(40), names(40), ERROR).compare(full, planned)
    assert (found.carriers, found.typical) == (1, pytest.approx(0.1))
    assert found.rests_on_few
    assert describe_carriers(found) == (
        "1 of 40 examples make half of the change, so that its interval may be too narrow; the median example's error × 0.900"
    )
    even = Pairing(np.ones(40), names(40), ERROR).compare(full, 0.9 * full)
    assert even.rests_on_few
    plain = Pairing(np.ones(39), names(39), ERROR).compare(full[:39], planned[:39])
    assert (plain.carriers, plain.rests_on_few) == (20, False)
    same = Pairing(np.ones(40), names(40), ERROR).compare(full, full)
    assert (same.carriers, same.typical, same.ci95) == (0, 0.0, (0.0, 0.0))
    answers = np.array([1.0, 0.0] * 20)
    assert Pairing(np.ones(40), names(40), ACCURACY).compare(answers, 1 - answers).carriers is None
    zeros = Pairing(np.ones(4), names(4), ERROR).compare(-np.array([0.0, 0, 0, 1]), -np.array([1.0, 1, 1, 1]))
    assert zeros.typical is None


@pytest.mark.parametrize(("n", "short"), [(219, True), (400, False)])
def test_too_few_examples_for_a_margin(n: int, short: bool) -> None:
    """Full against full on 219 rows: [−1.35, +1.36] points, with a margin of 1."""
    answers = np.zeros(n)
    unchanged = Pairing(np.ones(n), names(n), ACCURACY).compare(answers, answers).ci95
    check = Preflight(
        n_search=n, n_test=n, full=0.5, ci95=(0.4, 0.6), chance=None, above_chance=None, baseline_score=None,
        reference_drop=Plan.drop(4, [1]), detectable=0.01, unchanged=unchanged,
    )  # fmt: skip
    text = describe_shortage(check, ACCURACY)
    assert bool(text) == short
    if short:
        assert unchanged == pytest.approx((-0.0135, 0.0136), abs=2e-4)
        assert re.fullmatch(
            r"too few to show a loss below 1.0 points, as the verdict 'prune' asks: a plan that changes no answer would have "
            r"\+0.0 points \[−1.\d, \+1.\d\]; about (29|30)\d test examples are needed",
            text,
        )
