"""The rows that a student is trained on, and what it is asked on."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from tapioca.commands.heal.config import HealConfig
from tapioca.commands.versus.sides import read_run_request
from tapioca.errors import DataError, ModelError, UsageError
from tapioca.healing.train import NO_PEFT
from tapioca.progress import Progress
from tapioca.records import RunConfig
from tapioca.runs.places import remember_places
from tapioca.session.context import RunInputs, load_inputs
from tapioca.session.data import read_task
from tapioca.session.rows import take_rows
from tapioca.tasks.base import Task
from tapioca.tasks.split import refuse_leak


class StudentConfig(RunConfig):
    """How a run asked its rows."""

    verb = "heal"
    without_reference = "no ID data: healing is on OOD rows alone"


@dataclass(frozen=True, eq=False)
class HealInputs:
    """What healing starts from.

    Attributes:
        config: how the run asked its rows.
        run_inputs: the full model, and the run's rows.
        training: the rows to train on, by data set.
        seen_rows: digests of all rows that the student was searched or tuned on.
        dtype: of the full model's weights as they came.
    """

    config: StudentConfig
    run_inputs: RunInputs
    training: dict[str, Task]
    seen_rows: frozenset[str]
    dtype: torch.dtype


def load_heal_inputs(config: HealConfig, progress: Progress) -> HealInputs:
    """Load the full model and read the rows.

    Raises:
        DataError: rows to train on are rows that the run is judged on.
        StoreError: there is no finished run, or it does not say which rows it had.
    """
    brought, rows = read_run_request(config.run)
    moved = {name: place for name in ("model", "task", "reference") if (place := getattr(config, name))}
    asked = StudentConfig(**brought | moved | {"take_over": config.take_over})
    run_inputs = load_inputs(asked, progress, divide=take_rows(rows, str(config.run)))
    remember_places(run_inputs.model_hash, model=asked.model, adapter=asked.adapter)  # which may have been moved
    training: dict[str, Task] = {str(name): task for name, task in run_inputs.search.items()}
    if config.data:
        training = {"data": read_task(config.data, run_inputs.loaded, asked.task_options())}
        for test in run_inputs.test.values():
            _refuse_test_rows(training["data"], test, config.run)
    _refuse_unlearnable(config, training)
    trained_on = frozenset(example.row_digest for task in training.values() for example in task.examples)
    return HealInputs(asked, run_inputs, training, trained_on | rows.searched, run_inputs.loaded.model.dtype)


def _refuse_test_rows(training: Task, test: Task, run: Path) -> None:
    """Refuse rows to train on that a run is judged on, or that share a group with them."""
    judged = {example.row_digest for example in test.examples}
    leaked = [example for example in training.examples if example.row_digest in judged]
    if leaked:
        raise DataError(
            f"{len(leaked)} of {len(training.examples)} rows of {training.name} (such as id '{leaked[0].id}') are rows that {run} is judged on; "
            "leave them out of --data"
        )
    refuse_leak(training, test)


def _refuse_unlearnable(config: HealConfig, training: dict[str, Task]) -> None:
    """Refuse before anything is written what would fail in the first step.

    Raises:
        ModelError: adapters need peft.
        UsageError: no loss follows from the right answers of a task.
    """
    if not config.full and find_spec("peft") is None:
        raise ModelError(NO_PEFT)
    for task in training.values():
        if config.by == "labels" and not task.has_gradients:
            raise UsageError(f"{task.name}: no loss with gradients follows from its right answers; heal --by teacher")
