"""What the in-context learner is asked: draw functions, draw inputs, lay out prompts.

A prompt is `points` pairs (x, f(x)) of one function f drawn afresh for every prompt. Every point is
at once the query for the points before it and context for the points after it (the set-up of Garg et
al. 2022, arXiv 2208.01066). *The query* is the last point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

FunctionBatch = Callable[[np.ndarray], np.ndarray]
"""One function per prompt: inputs of shape (prompt, any number of points) to values of that shape."""

MAX_POINTS = 64
"""Points of the longest prompt: a learner reads 128 tokens."""
MAX_DEGREE = 12


class Distribution(BaseModel, frozen=True, extra="forbid"):
    """A one-dimensional law: uniform on [a, b], or normal with mean a and standard deviation b."""

    kind: Literal["uniform", "normal"] = "uniform"
    a: float = -1.0
    b: float = 1.0

    def draw(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Independent draws, float64, of the given shape."""
        return rng.uniform(self.a, self.b, size) if self.kind == "uniform" else rng.normal(self.a, self.b, size)

    def moment(self, order: int) -> float:
        """Expected value of the power `order` of a draw."""
        if self.kind == "uniform":
            return sum(self.a**low * self.b ** (order - low) for low in range(order + 1)) / (order + 1)
        if order < 2:
            return self.a if order else 1.0
        return self.a * self.moment(order - 1) + (order - 1) * self.b**2 * self.moment(order - 2)


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


class Polynomials(BaseModel, frozen=True, extra="forbid"):
    """Polynomials c_0 + c_1 x + ... + c_degree x^degree with independent coefficients and inputs.

    Attributes:
        degree: of every polynomial; with `least_degree`, the degree of each is uniform between the two.
        coefficients, inputs: what they are drawn from.
        points: points of a prompt, the query included.
        noise: standard deviation of normal noise on the y that is read; targets have none.
    """

    degree: int = Field(default=3, ge=0, le=MAX_DEGREE)
    least_degree: int | None = Field(default=None, ge=0)
    coefficients: Distribution = Distribution()
    inputs: Distribution = Distribution()
    points: int = Field(default=20, ge=2)
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _degrees_in_order(self) -> Self:
        if self.least_degree is not None and self.least_degree > self.degree:
            raise ValueError(f"least degree {self.least_degree} is above the degree {self.degree}")
        return self

    def draw(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts, each with its own polynomial and its own inputs."""
        prompts = self.draw_clean(n, rng)
        return prompts.with_noise(self.noise, rng) if self.noise else prompts

    def draw_clean(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts whose y carry no noise: what shifts start from."""
        coefficients = self.coefficients.draw(rng, (n, self.degree + 1))
        x = self.inputs.draw(rng, (n, self.points))
        if self.least_degree is not None:
            degrees = rng.integers(self.least_degree, self.degree, n, endpoint=True)
            coefficients[np.arange(self.degree + 1) > degrees[:, None]] = 0.0
        y = polynomials_from_coefficients(coefficients)(x)
        return Prompts(x=x, context_y=y, targets=y, law=self, curves=polynomials_from_coefficients(coefficients))

    @property
    def mean(self) -> float:
        """Expected value of f(x)."""
        return self._mean_over_degrees(lambda degree: self.coefficients.moment(1) * sum(self._input_moments(degree)))

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of f(x) over functions and inputs."""
        first, second = self.coefficients.moment(1), self.coefficients.moment(2)

        def squared(degree: int) -> float:
            moments = self._input_moments(2 * degree)
            crossed = sum(moments[j + k] for j in range(degree + 1) for k in range(degree + 1) if j != k)
            return second * sum(moments[::2]) + first**2 * crossed

        return float(np.sqrt(self._mean_over_degrees(squared) - self.mean**2))

    def _input_moments(self, highest: int) -> list[float]:
        return [self.inputs.moment(order) for order in range(highest + 1)]

    def _mean_over_degrees(self, of_degree: Callable[[int], float]) -> float:
        """Mean of a quantity over the degrees."""
        least = self.degree if self.least_degree is None else self.least_degree
        return float(np.mean([of_degree(degree) for degree in range(least, self.degree + 1)]))


def polynomials_from_coefficients(coefficients: np.ndarray, lowest: int = 0) -> FunctionBatch:
    """Polynomials from coefficients of shape (prompt, power), the first of them that of x^lowest."""
    powers = np.arange(lowest, lowest + coefficients.shape[1])
    return lambda x: np.einsum("npk,nk->np", x[:, :, None] ** powers, coefficients)
