"""What is made of the outputs that a model gives under several plans."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError

from tapioca.errors import UsageError
from tapioca.plan.plan import Plan


class OutputSum(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A weighted sum of a model's outputs (logits, or the numbers it predicts) under plans: their mean, or one plan's times a
    number. Scored like a plan, and known by its digest like one; nothing else can be done with it.

    Attributes:
        terms: plans and the weights of their outputs.
    """

    terms: tuple[tuple[Plan, float], ...] = Field(min_length=1)

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UsageError(f"not a sum of outputs: {error.errors()[0]['msg']}") from error

    @classmethod
    def mean(cls, *plans: Plan) -> Self:
        """The mean of the outputs under some plans."""
        return cls(terms=tuple((plan, 1 / len(plans)) for plan in plans))

    @classmethod
    def times(cls, number: float, plan: Plan) -> Self:
        """The outputs under a plan, multiplied by a number."""
        return cls(terms=((plan, number),))

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans whose outputs it takes."""
        return tuple(plan for plan, _ in self.terms)

    def to_json(self) -> str:
        """The stable JSON form: the same sum always gives the same text."""
        return self.model_dump_json()

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the sum."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return " + ".join(f"{weight:.4g} × ({plan})" for plan, weight in self.terms)


Answerer = Plan | OutputSum
"""What gives answers that can be scored: a model under a plan, or a sum of its outputs under several."""
