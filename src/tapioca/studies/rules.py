"""Rules of claims as data: what decides, and the sentences that say so."""

from collections.abc import Iterable
from math import log
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from tapioca.errors import did_you_mean
from tapioca.studies.measures import measure_spec


class UnknownKeyError(ValueError):
    """A key that an entry of a study's file does not have."""

    def __init__(self, key: str, known: Iterable[str]):
        super().__init__(f"unknown key '{key}'; {did_you_mean(key, known)}")
        self.key = key


class Entry(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()):
    """Base of what stands in a study's file."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in cls.model_fields:
                raise UnknownKeyError(str(key), cls.model_fields)
        return values


class Margins(Entry):
    """What is held to be nothing. A bound of a rule can be one of these by its name, or its negative as in `-error`."""

    error: float = Field(gt=0, lt=1, description="A change of error; as a bound it is the log ratio -ln(1 - error).")
    deviation: float = Field(gt=0, description="A deviation of profiles beyond its null.")

    @property
    def log_ratio(self) -> float:
        """The change of error held to be nothing, as a log ratio."""
        return -log(1 - self.error)

    def resolve_bound(self, bound: float | str) -> float:
        """The number that a bound stands for."""
        if not isinstance(bound, str):
            return bound
        margin = {"error": self.log_ratio, "deviation": self.deviation}[bound.removeprefix("-")]
        return -margin if bound.startswith("-") else margin

    def format_bound(self, bound: float | str) -> str:
        """The same to be read: '0', or '0.0202 (the margin of error)'."""
        number = f"{self.resolve_bound(bound):.3g}"
        if not isinstance(bound, str):
            return number
        sign = "minus " if bound.startswith("-") else ""
        return f"{number} ({sign}the margin of {bound.removeprefix('-')})"


def _check_measure(name: Any) -> Any:
    if isinstance(name, str):
        measure_spec(name)
    return name


def _check_bound(bound: Any) -> Any:
    if isinstance(bound, bool) or not isinstance(bound, int | float | str):
        raise ValueError("a bound is a number or the name of a margin")
    if isinstance(bound, str) and bound.removeprefix("-") not in Margins.model_fields:
        suggestion = did_you_mean(bound.removeprefix("-"), Margins.model_fields)
        raise ValueError(f"unknown margin '{bound}'; expected a number, or a margin: {suggestion}")
    return bound


MeasureName = Annotated[str, BeforeValidator(_check_measure)]
Decision = Literal["supported", "not supported", "inconclusive"]


class Condition(Entry):
    """That a measure lies on one side of a bound: its whole 95 % interval, or its mean at every model size."""

    measure: MeasureName = Field(description="One of `tapioca.studies.measures.MEASURES`.")
    side: Literal["above", "below"] = Field(description="Of the bound.")
    bound: Annotated[float | str, BeforeValidator(_check_bound)] = Field(description="A number, or a margin's name.")
    at: Literal["pooled", "every size"] = Field(default="pooled", description="The interval, or the mean of each size.")

    def to_sentence(self, margins: Margins) -> str:
        """The condition in words."""
        requirement = f"{self.side} {margins.format_bound(self.bound)}"
        label = measure_spec(self.measure).label
        if self.at == "every size":
            return f"{label}: mean {requirement} at every model size, of at least two"
        return f"{label}: 95 % interval {requirement}"


def _wrap_single(alternative: Any) -> Any:
    return [alternative] if isinstance(alternative, dict | Condition) else alternative


Alternative = Annotated[tuple[Condition, ...], BeforeValidator(_wrap_single), Field(min_length=1)]
"""A condition, or a list of conditions that must all hold: numbers of which none is to decide alone."""


class Rule(Entry):
    """A claim, and what decides on it; where neither side holds, or both do, it is inconclusive."""

    statement: str = Field(description="What is claimed, in one sentence.")
    supported: tuple[Condition, ...] = Field(min_length=1, description="All must hold.")
    not_supported: tuple[Alternative, ...] = Field(min_length=1, description="One is enough; of a list all must hold.")
    beside: tuple[MeasureName, ...] = Field(default=(), description="Measures that are shown and decide nothing.")

    @property
    def deciding(self) -> tuple[str, ...]:
        """Names of the measures that decide, in order."""
        opposing = (condition for alternative in self.not_supported for condition in alternative)
        return tuple(dict.fromkeys(condition.measure for condition in (*self.supported, *opposing)))

    def to_sentences(self, margins: Margins) -> dict[Decision, tuple[str, ...]]:
        """The conditions of both sides in words."""
        return {
            "supported": tuple(condition.to_sentence(margins) for condition in self.supported),
            "not supported": tuple(
                "; and ".join(condition.to_sentence(margins) for condition in alternative)
                for alternative in self.not_supported
            ),
        }
