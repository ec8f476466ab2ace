"""What a dry run of a comparison found."""

from dataclasses import dataclass

from tapioca.commands.versus.result import ComparedModel
from tapioca.records import Metric
from tapioca.records.results import Domain, Interval


@dataclass(frozen=True)
class Preview:
    """Two models that can be compared.

    Attributes:
        models: A and B.
        metric: what would be measured.
        same_tokens: whether both read the same.
        n: rows of each data set.
        left_out: rows that one of the models cannot be asked.
        unchanged: the interval of two models that answer alike; None of errors, whose is 0.
        prompt: the first one, as a person reads it.
    """

    models: tuple[ComparedModel, ComparedModel]
    metric: Metric
    same_tokens: bool
    n: dict[Domain, int]
    left_out: dict[Domain, int]
    unchanged: dict[Domain, Interval | None]
    prompt: str
