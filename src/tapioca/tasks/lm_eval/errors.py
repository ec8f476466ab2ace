"""Why lm-eval cannot make a task: no access to its data, no such configuration, or no such split."""

from collections.abc import Collection
from traceback import walk_tb
from typing import Any

from tapioca.errors import DataError
from tapioca.hub import explain_hub_error


class CostlyDocument(DataError):
    """A template of the task costs more on a document than it may."""


def explain_failure(error: Exception, name: str) -> str:
    """What made lm-eval fail to load the task, or one of the group, of this name."""
    task = _failed_task(error)
    if task is not None:
        path = str(task.DATASET_PATH)
        splits = getattr(task, "dataset", None)
        if splits is not None and isinstance(error, KeyError) and error.args[0] not in splits:
            return missing_split(name, error.args[0], splits)
        revision = (task.config.dataset_kwargs or {}).get("revision")
        if splits is None and (reason := explain_hub_error(error, "data set", path, revision)):
            return f"lm-eval cannot load '{name}': {reason}"
    return f"lm-eval cannot load '{name}': {' '.join(str(error).split())[:200] or type(error).__name__}"


def missing_split(name: str, split: str, known: Collection[str]) -> str:
    """That a data set lacks a split, and which it has."""
    return f"{name}: the data set has no split '{split}'; known: {', '.join(sorted(map(str, known)))}"


def _failed_task(error: Exception) -> Any:
    """The lm-eval task that was being made when the error was raised; None where it was no task's."""
    owners = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    return next((owner for owner in owners if getattr(owner, "DATASET_PATH", None)), None)


def find_document(error: Exception) -> int:
    """The number of the document that lm-eval was making requests of when the error was raised."""
    numbers = [frame.f_locals["doc_id"] for frame, _ in walk_tb(error.__traceback__) if "doc_id" in frame.f_locals]
    return int(next(iter(numbers), 0))
