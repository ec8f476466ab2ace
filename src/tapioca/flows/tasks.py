"""Which tasks are ready by name, and what one of them asks a model: rendered and tokenised, without loading weights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tapioca.errors import UsageError
from tapioca.flows.data import TASK_SOURCES, check_compat, encoder_of, read_task
from tapioca.flows.tokens import split_first_row
from tapioca.models.load import LoadedModel, load_on_meta, load_tokenizer
from tapioca.records import Metric, TasksConfig
from tapioca.tasks.catalog import CATALOG, find_variant
from tapioca.tasks.chat import Clock
from tapioca.tasks.describe import write_description
from tapioca.tasks.shots import with_own_shots


@dataclass(frozen=True)
class TaskSample:
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


def show_task(config: TasksConfig) -> TaskSample:
    """Read a task for a model and show its first examples; with `config.write` also write its description.

    Raises:
        DataError: the task cannot be read.
        ModelError: there is no such model.
        UsageError: the description cannot be written, or the task has one.
    """
    if config.write:
        _check_writable(config.task, config.write)
    task_options = config.task_options()
    check_compat(config.compat, [*task_options])
    source = (config.model, config.revision, config.trust_remote_code)
    loaded, clock = LoadedModel(load_on_meta(*source), load_tokenizer(*source)), Clock(config.chat_date or date.today())
    task = with_own_shots(read_task(find_variant(config.task, config.compat), loaded, task_options, clock=clock))
    if config.write:
        write_description(config.task, encoder_of(loaded, clock), task_options, config.write)
    return TaskSample(
        metric=task.metric,
        notes=task.notes,
        examples=len(task.examples),
        chance=None if task.chance is None or task.metric.kind == "error" else float(task.chance.mean()),
        labels=task.label_counts,
        shown=tuple((example.text, *split_first_row(loaded, example)) for example in task.examples[: config.count]),
    )


def _check_writable(task: str, place: Path) -> None:
    """Refuse to describe what is no data file, and where no description is looked for."""
    if task in CATALOG or task.partition(":")[0] in TASK_SOURCES:
        raise UsageError(f"{task} is no data file and needs no description; --write is for data files and hub:ID")
    if place.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--write {place}: a description is a .yaml file; give it such a name")
