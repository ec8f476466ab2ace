"""What `tapioca tasks` finds."""

from dataclasses import dataclass
from pathlib import Path

from tapioca.records import Metric


@dataclass(frozen=True)
class TaskList:
    """The ready tasks: name, kind and data of each; `whole` where none was left out."""

    tasks: tuple[tuple[str, str, str], ...]
    whole: bool


@dataclass(frozen=True)
class TaskSample:
    """Some examples of a task as a model reads them.

    Attributes:
        examples: how many the task has.
        chance: mean chance level; None where that means nothing.
        labels: how often each right answer stands in the data; empty where answers have no labels.
        shown: of each example its prompt, the tokens that are read, and those that are scored.
        written: the description of the task, where one was asked for.
    """

    name: str
    metric: Metric
    notes: tuple[str, ...]
    examples: int
    chance: float | None
    labels: dict[str, int]
    shown: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    written: Path | None
