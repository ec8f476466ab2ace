"""What the in-context learner is asked: draw functions, draw inputs, lay out prompts.

A prompt is `points` pairs (x, f(x)) of one function f drawn afresh for every prompt. Every point is
at once the query for the points before it and context for the points after it (the set-up of Garg et
al. 2022, arXiv 2208.01066). *The query* is the last point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

FunctionBatch = Callable[[np.ndarray], np.ndarray]
"""One function per prompt: inputs of shape (prompt, any number of points) to values of that shape."""

MAX_POINTS = 64
"""Points of the longest prompt: a learner reads 128 tokens."""
MAX_DEGREE = 12
COEFFICIENT_VARIANCE = 1 / 3


@dataclass(frozen=True)
class Prompts:
    """n prompts of `points` points each; all arrays are float64 of shape (n, points).

    Attributes:
        x: inputs.
        context_y: what the learner reads as y.
        targets: what it should have answered at each x; not `context_y` where the context is corrupted or the rule changed.
        law: what they were drawn from; a shift changes its degree alone, where polynomials get a higher one.
        curves: the function behind the context of each prompt, without noise.
    """

    x: np.ndarray
    context_y: np.ndarray
    targets: np.ndarray
    law: Polynomials
    curves: FunctionBatch

    def __len__(self) -> int:
        return len(self.x)

    def at_inputs(self, x: np.ndarray) -> Prompts:
        """The same functions at other inputs, of any number."""
        y = self.curves(x)
        return replace(self, x=x, context_y=y, targets=y)

    def with_functions(self, curves: FunctionBatch) -> Prompts:
        """Other functions at the same inputs."""
        return replace(self, curves=curves).at_inputs(self.x)

    def with_noise(self, deviation: float, rng: np.random.Generator) -> Prompts:
        """The same prompts with normal noise on the y that is read; the targets stay clean."""
        return replace(self, context_y=self.context_y + deviation * rng.standard_normal(self.context_y.shape))


@dataclass(frozen=True)
class Polynomials:
    """Polynomials c_0 + c_1 x + ... + c_degree x^degree; coefficients and inputs are independent and U(−1, 1).

    Attributes:
        degree: of every polynomial; with `least_degree`, the degree of each is uniform between the two.
        points: points of a prompt, the query included.
        noise: standard deviation of normal noise on the y that is read; targets have none.
    """

    degree: int = 3
    least_degree: int | None = None
    points: int = 20
    noise: float = 0.0

    def draw(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts, each with its own polynomial and its own inputs."""
        prompts = self.draw_clean(n, rng)
        return prompts.with_noise(self.noise, rng) if self.noise else prompts

    def draw_clean(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts whose y carry no noise: what shifts start from."""
        coefficients = draw_uniform(rng, n, self.degree + 1)
        x = draw_uniform(rng, n, self.points)
        if self.least_degree is not None:
            degrees = rng.integers(self.least_degree, self.degree, n, endpoint=True)
            coefficients[np.arange(self.degree + 1) > degrees[:, None]] = 0.0
        curves = polynomials_from_coefficients(coefficients)
        return Prompts(x=x, context_y=curves(x), targets=curves(x), law=self, curves=curves)

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of f(x) over functions and inputs; their mean is 0."""
        least = self.degree if self.least_degree is None else self.least_degree
        variances = COEFFICIENT_VARIANCE * np.cumsum(
            1 / (2 * np.arange(self.degree + 1) + 1)
        )  # E[x^2k] is 1 / (2k + 1)
        return float(np.sqrt(np.mean(variances[least:])))


def draw_uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Coefficients or inputs, float64 of U(−1, 1)."""
    return rng.uniform(-1.0, 1.0, shape)


def polynomials_from_coefficients(coefficients: np.ndarray, lowest: int = 0) -> FunctionBatch:
    """Polynomials from coefficients of shape (prompt, power), the first of them that of x^lowest."""
    powers = np.arange(lowest, lowest + coefficients.shape[1])
    return lambda x: np.einsum("npk,nk->np", x[:, :, None] ** powers, coefficients)
