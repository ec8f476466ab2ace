"""The data sets of a run: read, checked against the model and each other, and split."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

from tapioca.errors import DataError, ModelError, UsageError
from tapioca.evaluate import check_task
from tapioca.models.inputs import classifier_labels, find_max_length
from tapioca.models.load import LoadedModel
from tapioca.records import DataConfig
from tapioca.records.portable import portable_name
from tapioca.records.results import Domain
from tapioca.tasks.base import Task
from tapioca.tasks.catalog import find_variant
from tapioca.tasks.chat import Clock
from tapioca.tasks.columns import in_order
from tapioca.tasks.files import load_task
from tapioca.tasks.limit import Limit
from tapioca.tasks.rows import Source
from tapioca.tasks.shots import deal_to_splits
from tapioca.tasks.split import check_size, limit_task, refuse_leak, refuse_same, search_groups, split
from tapioca.tasks.text import Encoder

TASK_SOURCES = {
    "lab": "tapioca.lab.tasks:load_lab_task",
    "held-out": "tapioca.lab.corpus:load_held_out",
    "harness": "tapioca.tasks.lm_eval.docs:load_lm_eval",
}
"""What reads the tasks whose names begin so; imported when it is needed."""


LiveData = dict[str, Task | list[Source]]
"""Tasks, and rows in memory, by the names that a request calls them."""


Divided = tuple[dict[str, Task], dict[Domain, Task], dict[Domain, Task]]
Divide = Callable[[DataConfig, dict[str, Task]], Divided]
"""Makes of the data sets by role the same with worked examples where some are asked for, and their search and test splits."""


def read_task(
    name: str,
    loaded: LoadedModel,
    task_options: dict[str, Any],
    rows: list[Source] | None = None,
    clock: Clock | None = None,
    limit: Limit | None = None,
) -> Task:
    """Read one task by name: lab:..., held-out:..., harness:..., or a file; or make one, of that name, of rows.

    Args:
        name: of the task.
        loaded: the model that is asked, and its tokenizer.
        task_options: what the user said about files, under the names of `tasks.spec.TaskSpec`.
        rows: what to make the task of instead of reading a file.
        clock: what chat templates are told of the time; by default today.
        limit: how many examples are made of a file, or of rows; all by default, and of any other source.
    """
    encoder = encoder_of(loaded, clock)
    source, colon, _ = name.partition(":")
    if rows is None and colon and source in TASK_SOURCES:
        task: Task = resolve_name(TASK_SOURCES[source])(name, encoder, task_options)
        return task
    return load_task(name, encoder, task_options, rows, limit)


def encoder_of(loaded: LoadedModel, clock: Clock | None = None) -> Encoder | None:
    """What makes a model's ids of text; None for one without a tokenizer.

    Raises:
        ModelError: the model reads text and answers nothing.
    """
    model, tokenizer = loaded
    labels, longest = classifier_labels(model), find_max_length(model)
    if tokenizer and not labels and model.get_output_embeddings() is None:
        raise ModelError(
            f"this {model.config.model_type} model ({type(model).__name__}) has no classification head and no "
            "language-model head, so it answers nothing; use a model saved as ...ForSequenceClassification or ...ForCausalLM"
        )
    if tokenizer and labels:  # an encoder's position table may begin with places no token takes
        longest = min(longest, tokenizer.model_max_length)
    return Encoder(tokenizer, longest, labels, clock) if tokenizer else None


def read_tasks(config: DataConfig, loaded: LoadedModel, live: LiveData, clock: Clock) -> dict[str, Task]:
    """The data sets of a run by role: ood, and where given id and test.

    Raises:
        DataError: a file cannot be read, the model cannot read it, or the data sets are measured differently.
        UsageError: `config.compat` does not go with the tasks or with what is said about them.
    """
    task_options = config.task_options()
    check_compat(config.compat, [*task_options, *live])
    limit = Limit(config.limit, config.seed) if config.limit else None
    names = {"ood": config.task, "id": config.reference, "test": config.test}

    def read(name: str, labels: tuple[str, ...] = ()) -> Task:
        options = {"answers": "choice", **task_options, "labels": labels} if labels else task_options
        found = live.get(name)
        if isinstance(found, Task):
            return found
        return read_task(find_variant(name, config.compat), loaded, options, found, clock, limit)

    named = {role: name for role, name in names.items() if name is not None}
    tasks_by_role = {role: read(name) for role, name in named.items()}
    files = {role: name for role, name in named.items() if name not in live}
    tasks_by_role |= _share_labels(tasks_by_role, files, read)
    for task in tasks_by_role.values():
        check_task(loaded.model, task)
        if task.metric != tasks_by_role["ood"].metric:
            raise DataError(
                f"{task.name} is measured by {task.metric.name}, {config.task} by {tasks_by_role['ood'].metric.name}; use data of one kind"
            )
    return {role: limit_task(task, config.limit, config.seed) for role, task in tasks_by_role.items()}


def _share_labels(tasks: dict[str, Task], files: dict[str, str], read: Callable[..., Task]) -> dict[str, Task]:
    """The data sets whose labels were read off their columns, read again with the labels of all where these differ, or
    with those that were said of another.

    Args:
        tasks: of a run by role.
        files: names of those that can be read again.
        read: reads one by its name, with labels.

    Raises:
        DataError: labels differ, and those of rows in memory are settled.
    """
    labels_read = {role: task for role, task in tasks.items() if task.labels_read}
    labels_said = next((task.labels for task in tasks.values() if not task.labels_read), ())
    labels = in_order({label for task in labels_read.values() for label in task.labels})
    labels = labels_said if {*labels_said} >= {*labels} else labels
    if all(task.labels == labels for task in labels_read.values()):
        return {}
    if not labels_read.keys() <= files.keys():
        names = (task.name for task in labels_read.values())
        flags = (f"--label {shlex.quote(label)}" for label in labels)
        raise DataError(
            f"{' and '.join(names)}: their columns have different labels; say them all for both: {' '.join(flags)}"
        )
    note = f"labels of all data sets of the run together: {', '.join(labels)}"
    again = {role: read(files[role], labels) for role in labels_read}
    return {
        role: replace(task, notes=(*task.notes, f"{portable_name(task.name)}: {note}")) for role, task in again.items()
    }


def check_compat(compat: str | None, more: Sequence[str]) -> None:
    """Refuse what is said about a task beside `--compat`.

    Raises:
        UsageError: something is.
    """
    if compat and more:
        raise UsageError(
            f"--compat {compat} is for ready tasks, asked and marked as published; leave out: {', '.join(more)}"
        )


def split_tasks(config: DataConfig, tasks_by_role: dict[str, Task]) -> Divided:
    """The data sets with worked examples in their prompts where some are asked for, and their search and test splits;
    groups shared by data sets land on one side.

    Raises:
        DataError: ID and OOD data are the same, a split is too small, or a test split holds what the search sees.
    """
    for role in ("ood", "test"):
        if role in tasks_by_role and "id" in tasks_by_role:
            refuse_same(tasks_by_role[role], tasks_by_role["id"])
    groups = search_groups([task.examples for task in tasks_by_role.values()], config.search_share, config.seed)
    splits: dict[Domain, tuple[Task, Task]] = {}
    homes: dict[Domain, tuple[str, str]] = {"ood": ("ood", "ood"), "id": ("id", "id")}
    if "test" in tasks_by_role:
        groups |= set(tasks_by_role["ood"].groups)
        splits["ood"], homes["ood"] = (tasks_by_role["ood"], tasks_by_role["test"]), ("ood", "test")
        check_size(tasks_by_role["ood"], "search")
        check_size(tasks_by_role["test"], "test")
    homes = {domain: roles for domain, roles in homes.items() if domain in tasks_by_role}
    splits |= {domain: split(tasks_by_role[domain], groups) for domain in homes if domain not in splits}
    for _, held_out in splits.values():
        refuse_leak(splits["ood"][0], held_out)
    dealt, splits = deal_to_splits(tasks_by_role, splits, homes, config.seed)
    search, test = ({domain: parts[half] for domain, parts in splits.items()} for half in (0, 1))
    return dealt, search, test
