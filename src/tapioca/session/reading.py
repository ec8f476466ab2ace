"""How the rows of a run's examples are read: what those of one example begin with once, or all of them whole."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from transformers import PreTrainedModel

from tapioca.engine.context_support import explain_whole_rows
from tapioca.engine.contexts import lay_out
from tapioca.records import RunConfig
from tapioca.tasks.base import Task

R = TypeVar("R", bound=str)


def set_reading(config: RunConfig, tasks: Mapping[R, Task]) -> dict[R, Task]:
    """The same tasks, with their rows read as a request says."""
    whole = config.no_shared_context
    return {role: replace(task, shares_contexts=False) if whole else task for role, task in tasks.items()}


def list_roles_with_contexts(tasks: Mapping[R, Task]) -> list[R]:
    """The tasks of which some examples have several rows, read behind what these begin with."""
    return [role for role, task in tasks.items() if task.has_contexts(task.examples)]


def describe_reading(model: PreTrainedModel, tasks: Mapping[R, Task]) -> list[str]:
    """How the rows of these tasks are read, one line for each that has contexts."""
    lines = []
    for role in list_roles_with_contexts(tasks):
        rows = [[row.inputs for row in example.rows] for example in tasks[role].examples]
        longest = max(example.length for example in tasks[role].examples)
        if reason := explain_whole_rows(model, longest):
            lines.append(f"every row of an {role.upper()} question is read whole: {reason}")
        elif layout := lay_out(rows):
            share = layout.n_distinct_tokens / sum(len(row) for question in rows for row in question)
            lines.append(
                f"what the rows of an {role.upper()} question begin with is read once, which leaves {share:.0%} of the "
                "tokens (--no-shared-context reads every row whole)"
            )
    return lines
