"""The crossed bootstrap: its values, its level, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tapioca.stats import percentile_interval, small_sample_factor
from tapioca.studies.analyse.bootstrap import ResampledTable, resample_table


def tables(models: int, kinds: int, spread: tuple[float, float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (model, kind, strength) that are 0 in the mean, and resamples of their prompts."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, spread[0], (models, 1, 1)) + rng.normal(0, spread[1], (1, kinds, 1)) + np.zeros((1, 1, 2))
    values = truth + rng.normal(0, 0.3, truth.shape)
    return values, values[..., None] + rng.normal(0, 0.3, (*truth.shape, 50))


def drawn(values: np.ndarray, draws: np.ndarray | None = None, count: int = 300, seed: int = 0) -> ResampledTable:
    found = resample_table(values, draws, count, seed)
    assert found is not None
    return found


def test_the_mean_is_that_of_pairs_and_resamples_agree_with_a_direct_loop() -> None:
    values, _ = tables(4, 3, (1, 1), 0)
    values[1, 2] = np.nan  # a pair that is missing
    values[3, 0, 1] = np.nan  # a pair with one strength less
    found = drawn(values)
    pairs = np.array([[np.nanmean(row) if np.isfinite(row).any() else np.nan for row in rows] for rows in values])
    assert found.mean()[0] == pytest.approx(np.nanmean(pairs))
    for at in (1, 7, 250):
        rows, columns = found.counts[at].max(axis=1), found.counts[at]
        direct = [(pairs[m, k], columns[m, k]) for m in range(4) for k in range(3) if np.isfinite(pairs[m, k])]
        top, bottom = sum(v * n for v, n in direct), sum(n for _, n in direct)
        if bottom:
            assert found.mean()[at] == pytest.approx(top / bottom)
        assert rows.sum() > 0
    assert (found.counts[:, 1, 2] == 0).all()


def test_models_and_kinds_are_drawn_on_their_own_and_as_often_as_there_are() -> None:
    counts = drawn(np.ones((5, 3, 1)), count=400).counts
    assert (counts.sum(axis=(1, 2)) == 15).all()
    rows, columns = counts.sum(axis=2) / 3, counts.sum(axis=1) / 5
    assert np.allclose(counts, rows[:, :, None] * columns[:, None, :])
    assert rows[1:].var(axis=0).mean() == pytest.approx(4 / 5, rel=0.2)  # multinomial: n p (1 - p)


def test_a_model_or_kind_that_is_all_missing_is_not_drawn() -> None:
    values, _ = tables(4, 3, (1, 1), 1)
    values[2] = np.nan
    values[:, 0] = np.nan
    found = drawn(values)
    assert found.models.tolist() == [0, 1, 3]
    assert found.pairs.shape[1:] == (3, 2)
    assert np.isfinite(found.mean()).all()
    assert resample_table(np.full((2, 2, 1), np.nan), None, 10, 0) is None


def test_one_model_and_one_kind_leave_only_prompts_to_resample() -> None:
    values = np.full((1, 1, 1), 0.5)
    assert (drawn(values).mean() == 0.5).all()
    draws = values[..., None] + np.random.default_rng(0).normal(0, 0.2, (1, 1, 1, 2000))
    found = drawn(values, draws, 4000)
    assert np.std(found.mean()[1:]) == pytest.approx(0.2, rel=0.05)
    assert found.widen(found.mean()) == pytest.approx(found.mean())


def test_the_same_models_and_kinds_are_drawn_with_the_same_seed_with_prompts_or_without() -> None:
    values, draws = tables(4, 3, (1, 1), 2)
    assert (drawn(values, draws, seed=5).counts == drawn(-values, seed=5).counts).all()
    assert (drawn(values, seed=5).counts != drawn(values, seed=6).counts).any()


def test_few_things_widen_intervals_as_students_t_does() -> None:
    assert small_sample_factor(3) == pytest.approx(np.sqrt(3 / 2) * 4.3027 / 1.9600, rel=1e-4)
    assert small_sample_factor(1000) == pytest.approx(1, abs=0.01)
    assert small_sample_factor(1) == small_sample_factor(0) == 1
    found = drawn(tables(3, 5, (1, 1), 3)[0])
    mean = found.mean()
    assert np.ptp(found.widen(mean)) == pytest.approx(np.ptp(mean) * small_sample_factor(3))
    assert found.widen(mean)[0] == mean[0]


@pytest.mark.parametrize(
    ("models", "kinds", "spread"), [(12, 14, (1, 1)), (12, 1, (1, 0)), (3, 1, (1, 0)), (4, 4, (1, 0)), (5, 4, (0, 0))]
)
def test_intervals_hold_their_level_where_nothing_is_there(
    models: int, kinds: int, spread: tuple[float, float]
) -> None:
    """One-sided errors in 250 studies are no more than 2.5 % explain, at one chance in a thousand."""
    allowed = stats.binom.ppf(0.999, 250, 0.025)
    above = below = 0
    for seed in range(250):
        found = drawn(*tables(models, kinds, spread, seed), count=250, seed=seed)
        low, high = percentile_interval(found.widen(found.mean()))
        above, below = above + (low > 0), below + (high < 0)
    assert max(above, below) <= allowed, (above, below)


def test_without_widening_three_models_would_not_hold_it() -> None:
    above = 0
    for seed in range(250):
        low, _ = percentile_interval(drawn(tables(3, 1, (3, 0), seed)[0], count=250, seed=seed).mean())
        above += low > 0
    assert above > stats.binom.ppf(0.999, 250, 0.025)


def test_a_line_is_that_of_least_squares_and_of_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat([1.0, 2.0, 4.0], 3)
    values = (0.2 + 0.5 * x)[:, None, None] + rng.normal(0, 0.1, (9, 4, 2))
    found = drawn(values)
    middle, mean, slope = found.fit_line(x)
    direct = stats.linregress(np.repeat(x, 4), found.pairs[0].ravel())
    assert slope[0] == pytest.approx(direct.slope)
    assert mean[0] - slope[0] * middle[0] == pytest.approx(direct.intercept)
    assert percentile_interval(slope)[0] < 0.5 < percentile_interval(slope)[1]
    one_size = found.fit_line(np.ones(9))[2]
    assert np.isnan(one_size).all()
