"""Functions that are no polynomials, to be continued by a learner that has seen nothing else.

Every class has mean 0 and variance 1 over its functions and inputs that are U(−1, 1), so that a class can stand in for
another without a change of scale.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.polynomial.chebyshev import chebval
from scipy.interpolate import CubicSpline

from tapioca.lab.functions import FunctionBatch

FunctionClass = Callable[[int, np.random.Generator], FunctionBatch]
"""Draws so many functions."""

JUMPS = 4
KNOTS = np.linspace(-1.0, 1.0, 6)


def draw_sines(n: int, rng: np.random.Generator) -> FunctionBatch:
    """√2 sin(ωx + φ) with ω from U(2, 6) and φ from U(0, 2π): about one to two periods."""
    frequency, phase = rng.uniform(2, 6, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    return lambda x: np.sqrt(2) * np.sin(frequency * x + phase)


def draw_absolutes(n: int, rng: np.random.Generator) -> FunctionBatch:
    """√(9/2) (a |x − k| + b) with a from U(−1, 1), b and k from U(−1/2, 1/2): two straight pieces that meet at k.

    The variance of a |x − k| + b is E[a²] E[(x − k)²] + E[b²] = 1/3 · 5/12 + 1/12 = 2/9.
    """
    slope, (height, kink) = rng.uniform(-1, 1, (n, 1)), rng.uniform(-0.5, 0.5, (2, n, 1))
    return lambda x: np.sqrt(9 / 2) * (slope * np.abs(x - kink) + height)


def draw_step_functions(n: int, rng: np.random.Generator) -> FunctionBatch:
    """Constant between four jumps at U(−1, 1), with independent levels from U(−√3, √3)."""
    jumps, levels = rng.uniform(-1, 1, (n, JUMPS)), np.sqrt(3) * rng.uniform(-1, 1, (n, JUMPS + 1))
    return lambda x: np.take_along_axis(levels, (x[:, :, None] > jumps[:, None, :]).sum(-1), axis=1)


def draw_splines(n: int, rng: np.random.Generator) -> FunctionBatch:
    """Natural cubic splines through independent uniform values at six evenly spaced knots."""
    basis, scale = _spline_basis()
    values = scale * rng.uniform(-1, 1, (n, len(KNOTS)))
    return lambda x: np.einsum("npk,nk->np", basis(x), values)


def draw_chebyshev_sums(n: int, rng: np.random.Generator, degree: int) -> FunctionBatch:
    """c_0 T_0(x) + ... + c_degree T_degree(x) with Chebyshev polynomials T and independent uniform c, scaled to variance 1.

    The mean square of T_k over U(−1, 1) is 1/2 − 1 / (8k² − 2).
    """
    orders = np.arange(degree + 1)
    scale = np.sqrt(3 / np.sum(0.5 - 1 / (8 * orders**2 - 2)))
    coefficients = scale * rng.uniform(-1, 1, (degree + 1, n, 1))
    return lambda x: chebval(x, coefficients, tensor=False)


@cache
def _spline_basis() -> tuple[CubicSpline, float]:
    """The spline that is 1 at one knot and 0 at the others, for every knot; and what makes the variance 1."""
    basis = CubicSpline(KNOTS, np.eye(len(KNOTS)), bc_type="natural")
    middles = np.linspace(-1, 1, 20_001)[:-1] + 1 / 20_000
    return basis, float(np.sqrt(3 / np.mean(np.sum(basis(middles) ** 2, axis=1))))
