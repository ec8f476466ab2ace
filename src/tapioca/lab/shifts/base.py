"""What a kind of shift is, and what its strength may be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tapioca.errors import UsageError
from tapioca.lab.functions import Prompts

Change = Callable[[Prompts, float, np.random.Generator], Prompts]
"""Clean prompts, as `Polynomials.clean` draws them, to shifted ones; at strength 0 to the very same numbers.

`Prompts.curves` gives it the functions themselves, at any inputs, and must leave it as the functions behind the context.
"""

Dial = Literal["amount", "share", "count"]
"""What a strength counts in: any amount from 0, a share from 0 to 1, or whole points."""


@dataclass(frozen=True)
class ShiftKind:
    """One kind of shift.

    Attributes:
        change: applies it.
        preserves_answers: whether the distribution of the answers stays the same.
        summary: what it does at strength s.
        strengths: what a study steps through, rising; 0 stands before them.
        dial: what the strength is.
        query_only: whether this holds for the query alone, so that no other point may be scored.
    """

    change: Change
    preserves_answers: bool
    summary: str
    strengths: tuple[float, ...]
    dial: Dial = "amount"
    query_only: bool = False

    @property
    def family(self) -> str:
        """What it does to the answers."""
        return "kept" if self.preserves_answers else "moved"

    @property
    def scored(self) -> str:
        """What is scored where a task's name does not say it."""
        return "query" if self.query_only else "points"

    def check(self, name: str, strength: float) -> None:
        """Refuse a strength that the dial does not have.

        Raises:
            UsageError: it is negative or not finite, or no share or whole number where that is what is dialled.
        """
        if not (math.isfinite(strength) and strength >= 0):
            raise UsageError(f"shift strength must be a finite number >= 0, got {strength}")
        if self.dial == "share" and strength > 1:
            raise UsageError(f"the strength of {name} is a share; expected 0 to 1, got {strength}")
        if self.dial == "count" and strength != int(strength):
            raise UsageError(f"the strength of {name} is a number of points; expected a whole number, got {strength}")


class ShiftTable(dict[str, ShiftKind]):
    """Shifts under the names of their functions, which a decorator adds."""

    def __init__(self, preserves_answers: bool):
        super().__init__()
        self.preserves_answers = preserves_answers

    def add(
        self, summary: str, strengths: tuple[float, ...], dial: Dial = "amount", query_only: bool = False
    ) -> Callable[[Change], Change]:
        """Add the function that is decorated; the rest as in `ShiftKind`."""

        def add_function(change: Change) -> Change:
            self[change.__name__] = ShiftKind(change, self.preserves_answers, summary, strengths, dial, query_only)
            return change

        return add_function
