"""What a task asks a model: rendered and tokenised, without loading weights."""

from datetime import date
from pathlib import Path

from tapioca.commands.tasks.config import TasksConfig
from tapioca.commands.tasks.result import TaskSample
from tapioca.errors import UsageError
from tapioca.models.load import LoadedModel, load_on_meta, load_tokenizer
from tapioca.session.data import TASK_SOURCES, check_compat, encoder_of, read_task
from tapioca.session.tokens import split_first_row
from tapioca.tasks.catalog import CATALOG, find_variant
from tapioca.tasks.chat import Clock
from tapioca.tasks.describe import write_description
from tapioca.tasks.shots import with_own_shots


def sample_task(config: TasksConfig) -> TaskSample:
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
    name = find_variant(config.task, config.compat)
    task = with_own_shots(read_task(name, loaded, task_options, clock=clock))
    if config.write:
        write_description(config.task, encoder_of(loaded, clock), task_options, config.write)
    return TaskSample(
        name=name,
        metric=task.metric,
        notes=task.notes,
        examples=len(task.examples),
        chance=None if task.chance is None or task.metric.kind == "error" else float(task.chance.mean()),
        labels=task.label_counts,
        shown=tuple((example.text, *split_first_row(loaded, example)) for example in task.examples[: config.count]),
        written=config.write,
    )


def _check_writable(task: str, place: Path) -> None:
    """Refuse to describe what is no data file, and where no description is looked for."""
    if task in CATALOG or task.partition(":")[0] in TASK_SOURCES:
        raise UsageError(f"{task} is no data file and needs no description; --write is for data files and hub:ID")
    if place.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--write {place}: a description is a .yaml file; give it such a name")
