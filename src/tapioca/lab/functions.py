"""What the in-context learner is asked: draw functions, draw inputs, lay out prompts.

A prompt is `points` pairs (x, f(x)) of one function f drawn afresh for every prompt. Every point is
at once the query for the points before it and context for the points after it (the set-up of Garg et
al. 2022, arXiv 2208.01066).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field


class Distribution(BaseModel, frozen=True, extra="forbid"):
    """A one-dimensional law: uniform on [a, b], or normal with mean a and standard deviation b."""

    kind: Literal["uniform", "normal"] = "uniform"
    a: float = -1.0
    b: float = 1.0

    def draw(self, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """Independent draws, float64, of the given shape."""
        return rng.uniform(self.a, self.b, size) if self.kind == "uniform" else rng.normal(self.a, self.b, size)


@dataclass(frozen=True)
class Prompts:
    """n prompts of `points` points each; all arrays are float64 of shape (n, points).

    `seen` is what the learner reads as y; `targets` is what it should have answered at each x. They
    differ where a shift corrupts the context.
    """

    x: np.ndarray
    seen: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


class Polynomials(BaseModel, frozen=True, extra="forbid"):
    """Polynomials c_0 + c_1 x + ... + c_degree x^degree with independent coefficients and inputs."""

    degree: int = Field(default=3, ge=0, le=12)
    coefficients: Distribution = Distribution()
    inputs: Distribution = Distribution()
    points: int = Field(default=20, ge=2)

    def draw(self, n: int, rng: np.random.Generator) -> Prompts:
        """n prompts, each with its own polynomial and its own inputs."""
        coefficients = self.coefficients.draw(rng, (n, self.degree + 1))
        x = self.inputs.draw(rng, (n, self.points))
        powers = x[:, :, None] ** np.arange(self.degree + 1)  # (prompt, point, power)
        y = np.einsum("npk,nk->np", powers, coefficients)
        return Prompts(x=x, seen=y, targets=y)
