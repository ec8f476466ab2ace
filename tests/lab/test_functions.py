"""What prompts are made of: laws, polynomials, and the other classes of functions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.interpolate import CubicSpline

from tapioca.lab.function_classes import (
    KNOTS,
    FunctionClass,
    draw_absolutes,
    draw_sines,
    draw_splines,
    draw_step_functions,
)
from tapioca.lab.functions import Polynomials

RNG = np.random.default_rng
GRID = np.linspace(-1, 1, 401)


def test_polynomials_have_their_degree_and_their_laws() -> None:
    prompts = Polynomials(degree=2, points=8).draw(4000, RNG(0))
    assert prompts.x.shape == prompts.context_y.shape == (4000, 8)
    for x, y in zip(prompts.x[:20], prompts.targets[:20], strict=True):
        assert np.polyval(np.polyfit(x, y, 2), x) == pytest.approx(y, abs=1e-8)
    assert scipy_stats.kstest(prompts.x.ravel(), "uniform", (-1, 2)).pvalue > 0.001
    constants = np.array(
        [np.polyfit(x, y, 2)[2] for x, y in zip(prompts.x[:1000], prompts.targets[:1000], strict=True)]
    )
    assert scipy_stats.kstest(constants, "uniform", (-1, 2)).pvalue > 0.001


def test_a_mixture_of_degrees() -> None:
    prompts = Polynomials(degree=3, least_degree=1).draw(600, RNG(0))
    top = np.array([np.abs(np.polyfit(x, y, 3)[:2]) > 1e-9 for x, y in zip(prompts.x, prompts.targets, strict=True)])
    assert top.mean(0) == pytest.approx([1 / 3, 2 / 3], abs=0.06)  # x³ in a third of them, x² in two


def test_noise_is_on_what_is_read_alone() -> None:
    clean, noisy = Polynomials().draw(2000, RNG(0)), Polynomials(noise=0.4).draw(2000, RNG(0))
    assert np.array_equal(clean.targets, noisy.targets)
    assert scipy_stats.kstest((noisy.context_y - noisy.targets).ravel(), "norm", (0, 0.4)).pvalue > 0.001


def test_spread_of_the_values() -> None:
    assert Polynomials().standard_deviation == pytest.approx(np.sqrt((1 + 1 / 3 + 1 / 5 + 1 / 7) / 3))
    mixed = Polynomials(degree=5, least_degree=1)
    drawn = mixed.draw(100_000, RNG(0)).targets
    assert (0, mixed.standard_deviation) == pytest.approx((drawn.mean(), drawn.std()), rel=0.01, abs=0.01)


@pytest.mark.parametrize("functions", [draw_sines, draw_absolutes, draw_step_functions, draw_splines])
def test_every_class_has_mean_0_and_variance_1(functions: FunctionClass) -> None:
    values = functions(40_000, RNG(0))(RNG(1).uniform(-1, 1, (40_000, 5)))
    assert values.mean() == pytest.approx(0, abs=0.015)
    assert values.var() == pytest.approx(1, rel=0.02)


def grid(functions: FunctionClass, n: int = 50) -> np.ndarray:
    """Values of some functions over an even grid on [−1, 1]."""
    return functions(n, RNG(2))(np.tile(GRID, (n, 1)))


def test_sines_have_one_frequency_each() -> None:
    """f(x + h) + f(x − h) = 2 cos(ωh) f(x) at every x, for h of 0.1."""
    y = grid(draw_sines)
    frequencies = [np.arccos(np.linalg.lstsq(2 * row[20:-20, None], row[40:] + row[:-40])[0][0]) / 0.1 for row in y]
    for row, frequency in zip(y, frequencies, strict=True):
        assert row[40:] + row[:-40] == pytest.approx(2 * np.cos(0.1 * frequency) * row[20:-20], abs=1e-9)
    assert 2 < min(frequencies) < 2.5
    assert 5.5 < max(frequencies) < 6
    assert np.abs(y).max() <= np.sqrt(2)


def test_absolutes_are_two_straight_pieces() -> None:
    bent = np.abs(np.diff(grid(draw_absolutes), 2)) > 1e-12
    assert set(bent.sum(1)) <= {1, 2}  # the kink lies on the grid, or between two of its points
    assert (bent[:, :-1] & bent[:, 1:]).sum() == (bent.sum(1) == 2).sum()


def test_steps_have_four_jumps_and_five_levels() -> None:
    y = grid(draw_step_functions)
    jumps = (np.diff(y) != 0).sum(1)
    assert set(jumps) <= {1, 2, 3, 4}  # two jumps may fall between the same points of the grid
    assert np.mean(jumps == 4) > 0.9
    assert np.abs(y).max() <= np.sqrt(3)


def test_splines_are_natural_cubics_through_their_knots() -> None:
    curves = draw_splines(20, RNG(2))
    values = curves(np.tile(KNOTS, (20, 1)))
    expected = CubicSpline(KNOTS, values, axis=1, bc_type="natural")(GRID)
    assert curves(np.tile(GRID, (20, 1))) == pytest.approx(expected, abs=1e-12)
