"""Paired statistics against hand-computed cases, their coverage on simulated data, and the verdict rule."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tapioca.errors import NonFiniteError
from tapioca.records import Gain, Metric
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
