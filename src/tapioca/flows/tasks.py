"""Which tasks are ready by name, and what one of them asks a model: rendered and tokenised, without loading weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tapioca.flows.data import read_task
from tapioca.flows.tokens import row_tokens
from tapioca.models.load import Loaded, load_tokenizer, skeleton
from tapioca.records import Metric


@dataclass(frozen=True)
class Shown:
    """Some examples of a task as a model reads them.

    Attributes:
        examples: how many the task has.
        chance: mean chance level; None where that means nothing.
        labels: how often each right answer stands in the data; empty where answers have no labels.
        shown: of each example its prompt, the tokens that are read, and those that are scored.
    """

    metric: Metric
    notes: tuple[str, ...]
    examples: int
    chance: float | None
    labels: dict[str, int]
    shown: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]


def show_task(name: str, model: str, count: int, given: dict[str, Any], revision: str | None = None) -> Shown:
    """Read a task for a model and show its first examples.

    Raises:
        DataError: the task cannot be read.
        ModelError: there is no such model.
    """
    loaded = Loaded(skeleton(model, revision), load_tokenizer(model, revision))
    task = read_task(name, loaded, given)
    return Shown(
        metric=task.metric,
        notes=task.notes,
        examples=len(task.examples),
        chance=None if task.chance is None or task.metric.kind == "error" else float(task.chance.mean()),
        labels=task.balance,
        shown=tuple((example.text, *row_tokens(loaded, example)) for example in task.examples[:count]),
    )
