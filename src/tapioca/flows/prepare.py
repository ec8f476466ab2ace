"""Before anything is computed: model, tasks, splits, and the run folder that belongs to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import psutil
import torch
import transformers

from tapioca.errors import UsageError
from tapioca.evaluate import Stopping, evaluate
from tapioca.flows.data import read_tasks, split_tasks
from tapioca.flows.folder import CHAT_DATE, chat_date, folder_of
from tapioca.flows.space import space_of
from tapioca.flows.watcher import Watcher
from tapioca.models.device import idle_gpu
from tapioca.models.find import find_layers
from tapioca.models.identity import model_hash
from tapioca.models.inputs import device_of
from tapioca.models.known import Reuse
from tapioca.models.load import Loaded, load
from tapioca.models.sweep import Schedule
from tapioca.records import DataConfig, Metric, Plan, RunConfig, Scores
from tapioca.records.results import Data
from tapioca.runs.store import Store
from tapioca.search.base import Space
from tapioca.tasks.base import Task, example_digest
from tapioca.tasks.batches import batches
from tapioca.tasks.chat import Clock

NOT_IN_MANIFEST = {
    "model",
    "task",
    "reference",
    "test",
    "compat",
    "out",
    "plan",
    "dry_run",
    "judge",
    "answers",
    "skip_bad_rows",
    "shuffle_choices",
    "too_long",
    "num_fewshot",
    "device",
    "memory",
    "trust_remote_code",
    "trust_task_code",
    "adapter",
    "chat",
    "system",
    "chat_option",
    "chat_date",
}
"""Settings that change no answer, or that the manifest names by what they lead to."""


@dataclass(eq=False)
class Job:
    """Everything a run works with.

    Attributes:
        space: what there is to drop.
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
        schedule: how plans run together.
    """

    config: RunConfig
    loaded: Loaded
    space: Space
    search: dict[Data, Task]
    test: dict[Data, Task]
    notes: tuple[str, ...]
    store: Store
    watcher: Watcher
    schedule: Schedule

    @property
    def n_layers(self) -> int:
        """Layers of the full model."""
        return self.space.n_layers

    @property
    def metric(self) -> Metric:
        """What scores of this run mean."""
        return self.search["ood"].metric

    def evaluate(self, task: Task, plans: list[Plan], what: str, stopping: Stopping | None = None) -> Scores:
        """Score plans on a task, remembering every answer and showing progress; `stopping` may stop some of them."""
        self.watcher.stage(what, len(plans) * len(task.examples))
        return evaluate(
            self.loaded.model,
            task,
            plans,
            batch_size=self.config.batch_size,
            ledger=self.store,
            on_batch=lambda plan, done: self.watcher.advance(done),
            stopping=stopping,
            seed=self.config.order_seed,
            schedule=self.schedule if task is self.search["ood"] else replace(self.schedule, reuse=None),
        )


@dataclass(frozen=True, eq=False)
class Ground:
    """What every recipe starts from.

    Attributes:
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
        manifest: everything that could change an answer or a choice.
        whole: the data sets before they were split, by role.
    """

    loaded: Loaded
    search: dict[Data, Task]
    test: dict[Data, Task]
    notes: tuple[str, ...]
    manifest: dict[str, Any]
    whole: dict[str, Task]


def gather(
    config: DataConfig, watcher: Watcher, loaded: Loaded | None = None, tasks: dict[str, Task] | None = None
) -> Ground:
    """Load the model, read the data and split them.

    Args:
        config: the request.
        watcher: told what was guessed.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`, used instead of reading files.
    """
    watcher.stage(f"loading {config.model}", 0)
    if loaded and config.adapter:
        raise UsageError(
            "a live model takes no adapter; merge it into the weights first, with peft's merge_and_unload()"
        )
    loaded = loaded or load_as_asked(config)
    layers = find_layers(loaded.model)
    watcher.stage("reading the data", 0)
    manifest = _manifest(config, loaded)
    clock = Clock(chat_date(config, manifest))
    whole = read_tasks(config, loaded, tasks or {}, clock)
    whole, search, test = split_tasks(config, whole)
    idle = idle_gpu(config.device) if device_of(loaded.model).type == "cpu" else ""
    notes = _notes(whole, layers.path, len(layers), idle)
    manifest["data"] = {role: task.digest for role, task in whole.items()}
    if skipped := {role: dict(task.skipped) for role, task in whole.items() if task.skipped}:
        manifest["skipped"] = skipped
    if shots := {role: list(task.shots.per_prompt) for role, task in whole.items() if task.shots}:
        manifest["num_fewshot"] = shots
    if clock.asked:
        manifest[CHAT_DATE] = clock.day.isoformat()
        notes = (*notes, f"the chat template prints the date; in this run it is {clock.day} on every day (--chat-date)")
    for note in notes:
        watcher.say(note)
    return Ground(loaded, search, test, notes, manifest, whole)


def load_as_asked(config: DataConfig) -> Loaded:
    """The model of a request, where and as it asks for it.

    Raises:
        ModelError: it cannot be loaded.
    """
    return load(
        config.model,
        device=config.device,
        dtype=config.dtype,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        adapter=config.adapter,
    )


def prepare(
    config: RunConfig, watcher: Watcher, loaded: Loaded | None = None, tasks: dict[str, Task] | None = None
) -> Job:
    """As `gather`, and open the run folder."""
    ground = gather(config, watcher, loaded, tasks)
    notes = _scoring_notes(config, ground)
    for note in notes:
        watcher.say(note)
    examples = {role: example_digests(task) for role, task in ground.whole.items()}
    store = Store(folder_of(config, ground.manifest), ground.manifest, examples)
    return job_of(config, replace(ground, notes=(*ground.notes, *notes)), store, watcher)


def job_of(config: RunConfig, ground: Ground, store: Store, watcher: Watcher) -> Job:
    """What a run works with, once its folder is open."""
    cut = batches(ground.search["ood"], config.batch_size, config.order_seed)
    reuse = Reuse(room(config, ground.loaded), len(cut))
    return Job(
        config=config,
        loaded=ground.loaded,
        space=space_of(ground.loaded.model, config),
        search=ground.search,
        test=ground.test,
        notes=ground.notes,
        store=store,
        watcher=watcher,
        schedule=Schedule(config.streams, config.memory_bytes, reuse),
    )


def example_digests(task: Task) -> np.ndarray:
    """A number for each example, by all that changes its answers and its place in splits and averages; uint64."""
    rules = f"{type(task).__name__} {task.metric.model_dump_json()} {task.rules}"
    named = [f"{rules} {example.group} {example.weight} {example_digest(example)}" for example in task.examples]
    return np.frombuffer(b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in named), np.uint64)


def room(config: RunConfig, loaded: Loaded) -> int:
    """Bytes for hidden states: what the user allows, else a quarter of what is free."""
    device = device_of(loaded.model)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return config.memory_bytes or free // 4


def _notes(whole: dict[str, Task], path: str, n_layers: int, idle: str) -> tuple[str, ...]:
    """What was found or guessed, one line each."""
    notes = [f"{n_layers} layers at {path}", *filter(None, [idle])]
    for task in whole.values():
        notes += [note for note in task.notes if note not in notes]
    return tuple(notes)


def _scoring_notes(config: RunConfig, ground: Ground) -> list[str]:
    """What a run that scores plans says beside."""
    roles: dict[str, Task] = {str(data): task for data, task in ground.search.items()}
    if config.test:
        roles["test"] = ground.test["ood"]
    notes = [
        f"all {role.upper()} prompts begin with {task.opening} tokens that are the same; read once a plan"
        for role, task in roles.items()
        if task.opening
    ]
    if "id" not in roles:
        notes.append("no --reference: what the plan does to ID data and to the geometry is not measured")
    return notes


def _manifest(config: DataConfig, loaded: Loaded) -> dict[str, Any]:
    """Everything but the data that could change an answer or a choice."""
    model = loaded.model
    settings = config.model_dump(mode="json", exclude=NOT_IN_MANIFEST)
    return {
        "model_type": model.config.model_type,
        "model": model_hash(model),
        "dtype": str(model.dtype),
        "device": device_of(model).type,
        "attention": model.config._attn_implementation,
        "settings": settings,
        "versions": {
            "tapioca": version("tapioca-prune"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
