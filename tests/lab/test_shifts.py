"""The shifts of the lab: nothing at strength 0, answers kept or moved as they say, and what each of them does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tapioca.errors import UsageError
from tapioca.lab.functions import Polynomials, Prompts
from tapioca.lab.shifts import SHIFTS, shift
from tapioca.tasks.regress import BURN_IN

RNG = np.random.default_rng
LAWS = [Polynomials(), Polynomials(degree=5, least_degree=1, points=9), Polynomials(degree=0, points=20)]
RULES = {"rule_negated", "rule_offset"}
OTHER_FUNCTIONS = {
    "function_turned",
    "functions_interleaved",
    "higher_degree",
    "sines",
    "absolutes",
    "steps",
    "splines",
}
RANDOM = {
    "context_noise", "context_outliers", "context_scrambled", "context_jittered", "context_permuted", "context_sorted",
    "context_longer", "context_heteroscedastic", "context_missing", "context_duplicated",
    "coefficient_tails", "functions_interleaved", "chebyshev",
    "higher_degree", "sines", "absolutes", "steps", "splines", "mixture", "rule_negated",
}  # fmt: skip
PAIRS = [(kind, strength) for kind in SHIFTS for strength in SHIFTS[kind].strengths]


def shifted(kind: str, strength: float, n: int = 200, seed: int = 0) -> tuple[Prompts, Prompts]:
    """Prompts, and the same ones after a shift."""
    prompts = Polynomials().draw_clean(n, RNG(seed))
    return prompts, shift(prompts, kind, strength, RNG([seed, 1]))


def arrays(prompts: Prompts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return prompts.x, prompts.context_y, prompts.targets


def equal(one: Prompts, other: Prompts) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def polynomial(x: np.ndarray, y: np.ndarray, degree: int = 3) -> np.ndarray:
    """Coefficients of every prompt's polynomial, highest power first, and after them the largest misfit."""
    fits = [np.polyfit(a, b, degree) for a, b in zip(x, y, strict=True)]
    misfits = [np.abs(np.polyval(fit, a) - b).max() for fit, a, b in zip(fits, x, y, strict=True)]
    return np.column_stack([np.array(fits), misfits])


def test_there_are_enough_kinds_and_strengths() -> None:
    families = [kind.family for kind in SHIFTS.values()]
    assert families.count("kept") >= 8
    assert families.count("moved") >= 8
    for kind in SHIFTS.values():
        assert len(kind.strengths) >= 5
        assert kind.strengths[0] > 0
        assert sorted(set(kind.strengths)) == list(kind.strengths)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", SHIFTS)
def test_strength_zero_is_no_shift(kind: str, law: Polynomials) -> None:
    prompts = law.draw_clean(50, RNG(0))
    assert equal(shift(prompts, kind, 0.0, RNG(1)), prompts)


@pytest.mark.parametrize(("kind", "strength"), PAIRS)
def test_every_strength_is_a_shift_and_the_same_one_again(kind: str, strength: float) -> None:
    prompts, once = shifted(kind, strength)
    assert equal(once, shifted(kind, strength)[1])
    assert not equal(once, prompts)
    assert all(np.isfinite(array).all() and array.shape == once.x.shape for array in arrays(once))


@pytest.mark.parametrize("kind", SHIFTS)
def test_what_is_random_follows_the_generator_alone(kind: str) -> None:
    prompts, once = shifted(kind, SHIFTS[kind].strengths[1])
    assert equal(once, shift(prompts, kind, SHIFTS[kind].strengths[1], RNG(7))) == (kind not in RANDOM)


@pytest.fixture(scope="module")
def plain() -> Prompts:
    """Many prompts without a shift."""
    return Polynomials().draw_clean(20_000, RNG(0))


@pytest.mark.parametrize("kind", SHIFTS)
def test_answers_are_kept_or_moved(kind: str, plain: Prompts) -> None:
    """Two-sample Kolmogorov-Smirnov tests on independent draws at the highest strength, at first, middle and last
    scored point.

    Where a rule or the functions change, the law of a single answer may be what it was: rules answer the same questions
    otherwise, and other functions are not what the context would tell of a polynomial of the degree.
    """
    before, after = shifted(kind, SHIFTS[kind].strengths[-1], 20_000, seed=1)
    points = [-1] if SHIFTS[kind].query_only else [BURN_IN, 12, -1]
    p = [scipy_stats.ks_2samp(plain.targets[:, at], after.targets[:, at]).pvalue for at in points]
    if SHIFTS[kind].preserves_answers:
        assert min(p) > 0.001
    elif kind in RULES:
        assert np.array_equal(after.x, before.x)
        assert np.array_equal(after.context_y, before.context_y)
        assert not (after.targets == before.targets).any()
    elif kind in OTHER_FUNCTIONS:
        misfit = polynomial(after.x[:500], after.targets[:500])[:, -1]
        assert np.median(misfit) > 0.05 > 1e-9 > polynomial(before.x[:500], before.targets[:500])[:, -1].max()
    else:
        assert max(p) < 0.001


@pytest.mark.parametrize(("kind", "strength"), PAIRS)
def test_the_right_answer_to_the_query_is_the_function_that_the_context_follows(kind: str, strength: float) -> None:
    _, after = shifted(kind, strength)
    right = after.curves(after.x[:, -1:])[:, 0]
    assert (np.abs(after.targets[:, -1] - right).max() < 1e-9) == (kind not in RULES)


@pytest.mark.parametrize("kind", [kind for kind in SHIFTS if SHIFTS[kind].query_only and kind != "context_jittered"])
def test_rearranged_contexts_stay_clean_and_the_query_stays(kind: str) -> None:
    for strength in SHIFTS[kind].strengths:
        before, after = shifted(kind, strength)
        assert np.array_equal(after.context_y, after.targets)
        assert after.targets == pytest.approx(after.curves(after.x), abs=1e-12)
        assert np.array_equal(after.x[:, -1], before.x[:, -1])


def test_shifts_of_all_values() -> None:
    prompts = Polynomials().draw_clean(3, RNG(0))
    assert shift(prompts, "target_offset", 2, RNG(0)).context_y == pytest.approx(prompts.context_y + 2)
    assert shift(prompts, "coefficient_scale", 4, RNG(0)).targets == pytest.approx(5 * prompts.targets)
    for kind, x in (("input_translation", prompts.x + 1), ("input_scale", 2 * prompts.x)):
        after = shift(prompts, kind, 1, RNG(0))
        assert after.x == pytest.approx(x)
        assert np.array_equal(after.targets, prompts.targets)
        assert np.array_equal(after.context_y, prompts.context_y)


def test_noise_and_outliers_and_jitter() -> None:
    before, after = shifted("context_noise", 0.3, 2000)
    assert np.array_equal(after.targets, before.targets)
    assert scipy_stats.kstest((after.context_y - before.context_y).ravel(), "norm", (0, 0.3)).pvalue > 0.001
    before, after = shifted("context_outliers", 0.2, 2000)
    off = np.round(after.context_y - before.context_y, 9)
    assert [np.mean(off == value) for value in (-5, 0, 5)] == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
    before, after = shifted("context_jittered", 0.3, 2000)
    assert scipy_stats.kstest((after.x - before.x)[:, :-1].ravel(), "norm", (0, 0.3)).pvalue > 0.001
    assert np.array_equal(after.x[:, -1], before.x[:, -1])
    assert np.array_equal(after.context_y, before.context_y)


def test_scrambled_contexts_hold_the_same_y_at_other_x() -> None:
    for strength in (0.5, 1.0):
        before, after = shifted("context_scrambled", strength, 4000)
        assert np.array_equal(after.x, before.x)
        assert np.array_equal(after.targets, before.targets)
        assert np.array_equal(np.sort(after.context_y), np.sort(before.context_y))
        expected = (19 * strength - 1) / 20  # those chosen but one, which on average gets its own y again
        assert np.mean(after.context_y != before.context_y) == pytest.approx(expected, abs=0.01)
        assert np.array_equal(after.context_y[:, -1], before.context_y[:, -1])


def test_permuted_and_sorted_contexts_are_the_same_points_in_another_order() -> None:
    kept, rising = [], []
    for kind, strength in (("context_permuted", 1.0), ("context_sorted", 0.5), ("context_sorted", 1.0)):
        before, after = shifted(kind, strength, 1000)
        for one, other in zip(arrays(before), arrays(after), strict=True):
            order = np.argsort(before.x[:, :-1]), np.argsort(after.x[:, :-1])
            lined = [np.take_along_axis(array, by, 1) for array, by in zip((one, other), order, strict=True)]
            assert np.array_equal(*lined)
        kept.append(np.mean(after.x == before.x))
        rising.append(np.mean(np.diff(after.x[:, :-1]) > 0))
    assert rising[0] == pytest.approx(0.5, abs=0.02)
    assert 0.6 < rising[1] < 0.75
    assert rising[2] == 1.0
    assert kept[0] == pytest.approx(2 / 20, abs=0.01)  # the query, and of the others one on average


@pytest.mark.parametrize(("strength", "distinct"), [(0.25, 14), (0.5, 10), (0.75, 5), (0.9, 2), (1.0, 1)])
def test_repeated_contexts(strength: float, distinct: int) -> None:
    before, after = shifted("context_repeated", strength)
    for one, other in zip(arrays(before), arrays(after), strict=True):
        assert np.array_equal(other[:, :-1], one[:, np.arange(19) % distinct])
        assert np.array_equal(other[:, -1], one[:, -1])


def test_longer_and_shorter_contexts() -> None:
    before, after = shifted("context_longer", 44, 2000)
    assert after.x.shape == (2000, 64)
    assert np.array_equal(after.x[:, 44:], before.x)
    assert after.targets[:, 44:] == pytest.approx(before.targets, abs=1e-12)
    assert scipy_stats.kstest(after.x[:, :44].ravel(), "uniform", (-1, 2)).pvalue > 0.001
    before, after = shifted("context_shorter", 17)
    assert all(np.array_equal(other, one[:, 17:]) for one, other in zip(arrays(before), arrays(after), strict=True))


FITTED = {
    "context_narrowed": (0.75, lambda x: np.concatenate([x[:, :-1] / 4, x[:, -1:]], 1)),
    "input_displacement": (2.0, lambda x: x + 2),
    "input_narrowing": (0.75, lambda x: x / 4),
    "input_widening": (1.0, lambda x: 2 * x),
    "input_reweighting": (2.0, lambda x: np.cbrt(x)),
}


@pytest.mark.parametrize("kind", FITTED)
def test_inputs_move_and_the_functions_stay(kind: str) -> None:
    strength, moved = FITTED[kind]
    before, after = shifted(kind, strength)
    assert after.x == pytest.approx(moved(before.x), abs=1e-12)
    coefficients = polynomial(before.x, before.targets)[:, :4]
    expected = [np.polyval(c, x) for c, x in zip(coefficients, after.x, strict=True)]
    assert after.targets == pytest.approx(np.array(expected), abs=1e-6)
    assert np.array_equal(after.context_y, after.targets)


def test_the_density_of_reweighted_inputs() -> None:
    """|x|^s, hence |x| ≤ t with probability t^(s + 1)."""
    x = shifted("input_reweighting", 4.0, 2000)[1].x.ravel()
    assert scipy_stats.kstest(np.abs(x), lambda t: np.clip(t, 0, 1) ** 5).pvalue > 0.001
    assert np.mean(x > 0) == pytest.approx(0.5, abs=0.01)


def test_higher_degrees() -> None:
    before, after = shifted("higher_degree", 1.5, 1000)
    fits = polynomial(after.x, after.targets, 5)
    assert fits[:, -1].max() < 1e-9
    assert after.law.degree == 5
    assert fits[:, 2:6] == pytest.approx(polynomial(before.x, before.targets)[:, :4], abs=1e-5)
    assert scipy_stats.kstest(fits[:, 1], "uniform", (-1, 2)).pvalue > 0.001
    assert scipy_stats.kstest(fits[:, 0], "uniform", (-0.5, 1)).pvalue > 0.001


@pytest.mark.parametrize("kind", ["sines", "absolutes", "steps", "splines"])
def test_other_classes_keep_the_spread_at_every_strength(kind: str) -> None:
    spread = Polynomials().standard_deviation
    for strength in SHIFTS[kind].strengths:
        before, after = shifted(kind, strength, 5000)
        assert after.targets.std() == pytest.approx(spread, rel=0.03)
        shared = np.corrcoef(before.targets.ravel(), after.targets.ravel())[0, 1]
        assert shared == pytest.approx(np.sqrt(1 - strength**2), abs=0.03)
        assert np.array_equal(after.context_y, after.targets)


def test_mixtures_and_rules() -> None:
    before, after = shifted("mixture", 0.25, 4000)
    moved = np.round(after.targets - before.targets, 9)
    assert np.array_equal(after.context_y, after.targets)
    assert np.ptp(moved, axis=1).max() == 0
    assert [np.mean(moved == value) for value in (0, 3)] == pytest.approx([0.75, 0.25], abs=0.02)
    before, after = shifted("rule_negated", 0.25, 4000)
    same, negated = (after.targets == sign * before.targets for sign in (1, -1))
    assert same.all(1).mean() == pytest.approx(0.75, abs=0.02)
    assert (same.all(1) | negated.all(1)).all()
    before, after = shifted("rule_offset", 2.0)
    assert after.targets == pytest.approx(before.targets + 2)


def test_unknown_shifts_and_strengths() -> None:
    prompts = Polynomials().draw_clean(3, RNG(0))
    with pytest.raises(UsageError, match="did you mean 'target_offset'"):
        shift(prompts, "target_ofset", 1, RNG(0))
    for strength in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="finite number >= 0"):
            shift(prompts, "target_offset", strength, RNG(0))


def test_the_page_lists_every_shift_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{name}` | {kind.summary.replace('|', chr(92) + '|')} | {kind.family} | {kind.scored} | "
        f"{', '.join(f'{at:g}' for at in kind.strengths)} |"
        for name, kind in SHIFTS.items()
    ]


def test_noise_that_grows_and_y_that_are_missing() -> None:
    before, after = shifted("context_heteroscedastic", 0.5, 2000)
    assert np.array_equal(after.targets, before.targets)
    noise = (after.context_y - before.context_y) / (0.5 * np.abs(before.x))
    assert scipy_stats.kstest(noise.ravel(), "norm").pvalue > 0.001
    before, after = shifted("context_missing", 0.25, 2000)
    assert np.array_equal(after.targets, before.targets)
    assert np.mean(after.context_y == 0) == pytest.approx(0.25, abs=0.01)
    assert np.isin(after.context_y - before.context_y, [0]).mean() == pytest.approx(0.75, abs=0.01)


def test_duplicated_points_are_points_of_the_context() -> None:
    before, after = shifted("context_duplicated", 0.5, 1000)
    places = np.array([[np.flatnonzero(old == x)[0] for x in new] for old, new in zip(before.x, after.x, strict=True)])
    for one, other in zip(arrays(before), arrays(after), strict=True):
        assert np.array_equal(other, np.take_along_axis(one, places, 1))
    assert np.mean(places[:, :-1] == np.arange(19)) == pytest.approx(0.5 + 0.5 / 19, abs=0.01)
    assert places[:, :-1].max() == 18


def test_a_function_that_turns_and_two_that_take_turns() -> None:
    for strength in (0.5, 1.0):
        before, after = shifted("function_turned", strength, 100)
        assert np.array_equal(after.targets[:, :10], before.targets[:, :10])
        assert after.targets[:, 10:] == pytest.approx((1 - 2 * strength) * before.targets[:, 10:])
        assert np.array_equal(after.context_y, after.targets)
    before, after = shifted("functions_interleaved", 1.0, 4000)
    assert np.array_equal(after.targets[:, 1::2], before.targets[:, 1::2])  # the query is the twentieth point
    assert np.array_equal(after.context_y, after.targets)
    assert polynomial(after.x[:200, ::2], after.targets[:200, ::2])[:, -1].max() < 1e-9
    assert abs(np.corrcoef(before.targets[:, ::2].ravel(), after.targets[:, ::2].ravel())[0, 1]) < 0.03
    assert after.targets[:, ::2].std() == pytest.approx(before.targets.std(), rel=0.03)


def test_heavy_tails_and_chebyshev_polynomials() -> None:
    before, after = shifted("coefficient_tails", 0.5, 4000)
    factors = after.targets / before.targets
    assert np.ptp(factors, axis=1).max() < 1e-9
    assert scipy_stats.kstest(2 / factors[:, 0] ** 2, "chi2", (2,)).pvalue > 0.001
    before, after = shifted("chebyshev", 1.0, 5000)
    fits = polynomial(after.x[:1000], after.targets[:1000])
    assert fits[:, -1].max() < 1e-8
    assert after.targets.std() == pytest.approx(before.targets.std(), rel=0.03)
    third = fits[:, 0] / 4  # T_3 = 4x³ − 3x
    first = fits[:, 2] + 3 * third
    assert np.mean(third**2) == pytest.approx(np.mean(first**2), rel=0.1)
    assert abs(np.corrcoef(third, first)[0, 1]) < 0.1
