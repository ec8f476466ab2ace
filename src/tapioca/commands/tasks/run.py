"""Which tasks are ready by name, or what one of them asks."""

from tapioca.commands.tasks.config import TasksConfig
from tapioca.commands.tasks.result import TaskList, TaskSample
from tapioca.errors import UsageError
from tapioca.progress import SILENT, Progress
from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.spec import read_spec


def show_tasks(config: TasksConfig, progress: Progress = SILENT) -> TaskList | TaskSample:
    """List the ready tasks where none is named, else read that one for a model; `progress` is told nothing.

    Raises:
        TapiocaError: one line about what is wrong with the request, the task or the model.
    """
    if config.write and not config.task:
        raise UsageError("--write describes a data file; name one")
    if not config.task:
        return list_tasks(f"{config.compat}/" if config.compat else "")
    if not config.model:
        raise UsageError("a task is shown as a model reads it; say which with --model")
    from tapioca.commands.tasks.sample import sample_task  # loads torch, which a list does without

    return sample_task(config)


def list_tasks(start: str) -> TaskList:
    """The tasks whose names begin so."""
    specs = {name: read_spec(path, {}) for name, path in CATALOG.items() if name.startswith(start)}
    return TaskList(
        tuple((name, str(spec.kind), str(source)) for name, (source, spec) in specs.items()), whole=not start
    )
