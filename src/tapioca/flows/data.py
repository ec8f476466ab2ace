"""The data sets of a run: read, checked against the model and each other, and split."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tapioca.errors import DataError, ModelError, UsageError
from tapioca.evaluate import check_task
from tapioca.models.inputs import head_labels, max_length
from tapioca.models.load import Loaded
from tapioca.records import DataConfig
from tapioca.records.results import Data
from tapioca.registry import Registry
from tapioca.tasks.base import Task
from tapioca.tasks.catalog import variant
from tapioca.tasks.chat import Clock
from tapioca.tasks.columns import in_order
from tapioca.tasks.files import load_task
from tapioca.tasks.limit import Limit
from tapioca.tasks.rows import Source
from tapioca.tasks.shots import deal_shots, part_of
from tapioca.tasks.split import check_size, limited, refuse_leak, refuse_same, search_groups, split
from tapioca.tasks.text import Encoder

SOURCES = Registry(
    "task source",
    {
        "lab": "tapioca.lab.tasks:load_lab",
        "held-out": "tapioca.lab.corpus:load_held_out",
        "harness": "tapioca.tasks.harness_docs:load_harness",
    },
)


def read_task(
    name: str,
    loaded: Loaded,
    given: dict[str, Any],
    rows: list[Source] | None = None,
    clock: Clock | None = None,
    limit: Limit | None = None,
) -> Task:
    """Read one task by name: lab:..., held-out:..., harness:..., or a file; or make one, of that name, of rows.

    Args:
        name: of the task.
        loaded: the model that is asked, and its tokenizer.
        given: what the user said about files, under the names of `tasks.spec.TaskSpec`.
        rows: what to make the task of instead of reading a file.
        clock: what chat templates are told of the time; by default today.
        limit: how many examples are made of a file, or of rows; all by default, and of any other source.
    """
    encoder = encoder_of(loaded, clock)
    source, colon, _ = name.partition(":")
    if rows is None and colon and source in SOURCES:
        task: Task = SOURCES[source](name, encoder, given)
        return task
    return load_task(name, encoder, given, rows, limit)


def encoder_of(loaded: Loaded, clock: Clock | None = None) -> Encoder | None:
    """What makes a model's ids of text; None for one without a tokenizer.

    Raises:
        ModelError: the model reads text and answers nothing.
    """
    model, tokenizer = loaded
    labels, longest = head_labels(model), max_length(model)
    if tokenizer and not labels and model.get_output_embeddings() is None:
        raise ModelError(
            f"this {model.config.model_type} model ({type(model).__name__}) has no classification head and no "
            "language-model head, so it answers nothing; use a model saved as ...ForSequenceClassification or ...ForCausalLM"
        )
    if tokenizer and labels:  # an encoder's position table may begin with places no token takes
        longest = min(longest, tokenizer.model_max_length)
    return Encoder(tokenizer, longest, labels, clock) if tokenizer else None


def read_tasks(config: DataConfig, loaded: Loaded, live: dict[str, Task], clock: Clock) -> dict[str, Task]:
    """The data sets of a run by role: ood, and where given id and test.

    Raises:
        DataError: a file cannot be read, the model cannot read it, or the data sets are measured differently.
        UsageError: `config.compat` does not go with the tasks or with what is said about them.
    """
    given = config.task_options()
    check_compat(config.compat, [*given, *live])
    limit = Limit(config.limit, config.seed) if config.limit else None
    names = {"ood": config.task, "id": config.reference, "test": config.test}

    def read(name: str, labels: tuple[str, ...] = ()) -> Task:
        told = {"answers": "choice", **given, "labels": labels} if labels else given
        return read_task(variant(name, config.compat), loaded, told, clock=clock, limit=limit)

    named = {role: name for role, name in names.items() if name is not None}
    found = {role: live[name] if name in live else read(name) for role, name in named.items()}
    files = {role: name for role, name in named.items() if name not in live}
    found |= _share_labels(found, files, read)
    for task in found.values():
        check_task(loaded.model, task)
        if task.metric != found["ood"].metric:
            raise DataError(
                f"{task.name} is measured by {task.metric.name}, {config.task} by {found['ood'].metric.name}; use data of one kind"
            )
    return {role: limited(task, config.limit, config.seed) for role, task in found.items()}


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
    told = {role: task for role, task in tasks.items() if task.labels_read}
    said = next((task.labels for task in tasks.values() if not task.labels_read), ())
    labels = in_order({label for task in told.values() for label in task.labels})
    labels = said if {*said} >= {*labels} else labels
    if all(task.labels == labels for task in told.values()):
        return {}
    if not told.keys() <= files.keys():
        names, flags = (task.name for task in told.values()), (f"--label {shlex.quote(label)}" for label in labels)
        raise DataError(
            f"{' and '.join(names)}: their columns have different labels; say them all for both: {' '.join(flags)}"
        )
    note = f"labels of all data sets of the run together: {', '.join(labels)}"
    again = {role: read(files[role], labels) for role in told}
    return {role: replace(task, notes=(*task.notes, f"{task.name}: {note}")) for role, task in again.items()}


def check_compat(compat: str | None, more: Sequence[str]) -> None:
    """Refuse what is said about a task beside `--compat`.

    Raises:
        UsageError: something is.
    """
    if compat and more:
        raise UsageError(
            f"--compat {compat} is for ready tasks, asked and marked as published; leave out: {', '.join(more)}"
        )


def split_tasks(
    config: DataConfig, whole: dict[str, Task]
) -> tuple[dict[str, Task], dict[Data, Task], dict[Data, Task]]:
    """The data sets with worked examples in their prompts where some are asked for, and their search and test splits;
    groups shared by data sets land on one side.

    Raises:
        DataError: ID and OOD data are the same, a split is too small, or a test split holds what the search sees.
    """
    for role in ("ood", "test"):
        if role in whole and "id" in whole:
            refuse_same(whole[role], whole["id"])
    groups = search_groups([task.examples for task in whole.values()], config.search_share, config.seed)
    search: dict[Data, Task] = {}
    test: dict[Data, Task] = {}
    if "test" in whole:
        groups |= set(whole["ood"].groups)
        search["ood"], test["ood"] = whole["ood"], whole["test"]
        check_size(search["ood"], "search")
        check_size(test["ood"], "test")
    roles: tuple[Data, ...] = ("ood", "id")
    for data in roles:
        if data in whole and data not in search:
            search[data], test[data] = split(whole[data], groups)
    for task in test.values():
        refuse_leak(search["ood"], task)
    return _with_shots(config, whole, search, test)


def _with_shots(
    config: DataConfig, whole: dict[str, Task], search: dict[Data, Task], test: dict[Data, Task]
) -> tuple[dict[str, Task], dict[Data, Task], dict[Data, Task]]:
    """The same with worked examples; those of a --test file are those of the search."""
    shown = {role: search["id" if role == "id" else "ood"] for role in whole}
    dealt = deal_shots(whole, shown, list(test.values()), config.seed)
    homes: dict[Data, str] = {"ood": "ood", "id": "id"}
    search = {data: part_of(dealt[homes[data]], part) for data, part in search.items()}
    if "test" in whole:
        homes["ood"] = "test"
    return dealt, search, {data: part_of(dealt[homes[data]], part) for data, part in test.items()}
