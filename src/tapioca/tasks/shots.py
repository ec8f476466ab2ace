"""Worked examples in the prompts of all data sets of a run, once it is known what is held out."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from tapioca.tasks.base import Task

Key = TypeVar("Key")
Role = TypeVar("Role")


def deal_shots(
    tasks: Mapping[Key, Task], search_tasks: Mapping[Key, Task], held_out: Sequence[Task], seed: int
) -> dict[Key, Task]:
    """Data sets with worked examples in their prompts, where some are asked for; the arguments as for `Shots.deal`."""
    return {
        key: task.shots.deal(task, search_tasks[key], held_out, seed) if task.shots else task
        for key, task in tasks.items()
    }


def deal_to_splits(
    tasks: Mapping[Role, Task],
    splits: Mapping[Key, tuple[Task, Task]],
    homes: Mapping[Key, tuple[Role, Role]],
    seed: int,
) -> tuple[dict[Role, Task], dict[Key, tuple[Task, Task]]]:
    """Whole data sets, and their search and test splits, with worked examples from the search split in their prompts.

    Args:
        tasks: the data sets as they are, by role.
        splits: of each the search and the test split.
        homes: the roles of the tasks that these two are parts of.
        seed: of the draw.
    """
    shown = {role: splits[key][0] for key, roles in homes.items() for role in roles}
    dealt = deal_shots(tasks, shown, [test for _, test in splits.values()], seed)
    return dealt, {
        key: (select_part(dealt[homes[key][0]], search), select_part(dealt[homes[key][1]], test))
        for key, (search, test) in splits.items()
    }


def with_own_shots(task: Task) -> Task:
    """A task by itself with worked examples in its prompts, where some are asked for, from all of its rows."""
    return deal_shots({task.name: task}, {task.name: task}, [], seed=0)[task.name]


def select_part(whole_task: Task, part_task: Task) -> Task:
    """The examples of a part as they stand in the whole now; the part itself where nothing was dealt."""
    if not whole_task.shots:
        return part_task
    ids = {example.id for example in part_task.examples}
    return whole_task.select_examples(example for example in whole_task.examples if example.id in ids)
