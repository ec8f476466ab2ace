"""Before anything is computed: model, tasks, splits, and the run folder that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

from tapioca.errors import DataError
from tapioca.evaluate import check_task, evaluate
from tapioca.flows.watcher import Watcher
from tapioca.models.find import find_layers
from tapioca.models.inputs import max_length
from tapioca.models.load import Loaded, load, model_hash
from tapioca.records import Metric, Plan, PruneConfig, Scores
from tapioca.records.results import Data
from tapioca.registry import Registry
from tapioca.runs.fingerprint import fingerprint
from tapioca.runs.store import Store
from tapioca.tasks.base import Task
from tapioca.tasks.split import check_size, limited, refuse_leak, refuse_same, search_groups, split
from tapioca.tasks.text import Encoder

SOURCES = Registry("task source", {"lab": "tapioca.lab.tasks:load_lab", "file": "tapioca.tasks.files:load_task"})

NOT_IN_MANIFEST = {"model", "task", "reference", "test", "out", "dry_run", "device", "trust_remote_code"}
"""Settings that change no answer, or that the manifest names by what they lead to."""


@dataclass(eq=False)
class Job:
    """Everything a pruning run works with.

    Attributes:
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
    """

    config: PruneConfig
    loaded: Loaded
    n_layers: int
    search: dict[Data, Task]
    test: dict[Data, Task]
    notes: tuple[str, ...]
    store: Store
    watcher: Watcher

    @property
    def metric(self) -> Metric:
        """What scores of this run mean."""
        return self.search["ood"].metric

    def evaluate(self, task: Task, plans: list[Plan], what: str) -> Scores:
        """Score plans on a task, remembering every answer and showing progress."""
        self.watcher.stage(what, len(plans) * len(task.examples))
        return evaluate(
            self.loaded.model,
            task,
            plans,
            batch_size=self.config.batch_size,
            ledger=self.store,
            on_batch=lambda plan, done: self.watcher.advance(done),
        )


def prepare(
    config: PruneConfig, watcher: Watcher, loaded: Loaded | None = None, tasks: dict[str, Task] | None = None
) -> Job:
    """Load, split, and open the run folder.

    Args:
        config: the request.
        watcher: told what was guessed.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`, used instead of reading files.
    """
    watcher.stage(f"loading {config.model}", 0)
    loaded = loaded or load(
        config.model,
        device=config.device,
        dtype=config.dtype,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
    )
    layers = find_layers(loaded.model)
    watcher.stage("reading the data", 0)
    whole = _read_tasks(config, loaded, tasks or {})
    if "id" in whole:
        for role in ("ood", "test"):
            if role in whole:
                refuse_same(whole[role], whole["id"])
    search, test = _split(config, whole)
    notes = _notes(config, whole, layers.path, len(layers))
    for note in notes:
        watcher.say(note)
    manifest = _manifest(config, loaded, whole)
    name = f"{Path(config.model).name}-{Path(config.task).stem.replace(':', '-')}-{fingerprint(manifest)[:8]}"
    store = Store(config.out or Path("runs") / name, manifest)
    return Job(config, loaded, len(layers), search, test, notes, store, watcher)


def read_task(name: str, loaded: Loaded, given: dict[str, Any]) -> Task:
    """Read one task by name: lab:... or a file."""
    encoder = Encoder(loaded.tokenizer, max_length(loaded.model)) if loaded.tokenizer else None
    task: Task = SOURCES["lab" if name.startswith("lab:") else "file"](name, encoder, given)
    return task


def _read_tasks(config: PruneConfig, loaded: Loaded, live: dict[str, Task]) -> dict[str, Task]:
    """The data sets of a run by role: ood, and where given id and test."""
    given = config.task_options()
    names = {"ood": config.task, "id": config.reference, "test": config.test}
    found = {
        role: live[name] if name in live else read_task(name, loaded, given)
        for role, name in names.items()
        if name is not None
    }
    for task in found.values():
        check_task(loaded.model, task)
        if task.metric != found["ood"].metric:
            raise DataError(
                f"{task.name} is measured by {task.metric.name}, {config.task} by {found['ood'].metric.name}; use data of one kind"
            )
    return {role: limited(task, config.limit, config.seed) for role, task in found.items()}


def _split(config: PruneConfig, whole: dict[str, Task]) -> tuple[dict[Data, Task], dict[Data, Task]]:
    """Search and test splits by data set; groups shared by data sets land on one side."""
    groups = search_groups([task.examples for task in whole.values()], config.search_share, config.seed)
    search: dict[Data, Task] = {}
    test: dict[Data, Task] = {}
    if "test" in whole:
        groups |= set(whole["ood"].groups)
        search["ood"], test["ood"] = whole["ood"], whole["test"]
        check_size(search["ood"], "search")
        check_size(test["ood"], "test")
        refuse_leak(search["ood"], test["ood"])
    for role in ("ood", "id"):
        if role in whole and role not in search:
            search[role], test[role] = split(whole[role], groups)
    for task in test.values():
        refuse_leak(search["ood"], task)
    return search, test


def _notes(config: PruneConfig, whole: dict[str, Task], path: str, n_layers: int) -> tuple[str, ...]:
    """What was found or guessed, one line each."""
    notes = [f"{n_layers} layers at {path}"]
    for task in whole.values():
        notes += [note for note in task.notes if note not in notes]
    if "id" not in whole:
        notes.append("no --reference: what the plan does to ID data and to the geometry is not measured")
    return tuple(notes)


def _manifest(config: PruneConfig, loaded: Loaded, whole: dict[str, Task]) -> dict[str, Any]:
    """Everything that could change an answer or a choice."""
    model = loaded.model
    settings = config.model_dump(mode="json", exclude=NOT_IN_MANIFEST)
    return {
        "model_type": model.config.model_type,
        "model": model_hash(model),
        "dtype": str(model.dtype),
        "device": model.device.type,
        "attention": model.config._attn_implementation,
        "data": {role: task.digest for role, task in whole.items()},
        "settings": settings,
        "versions": {
            "tapioca": version("tapioca-prune"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
