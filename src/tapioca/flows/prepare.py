"""Before anything is computed: model, tasks, splits, and the run folder that belongs to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import transformers

from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Schedule
from tapioca.errors import UsageError
from tapioca.evaluate import StoppingRule, evaluate
from tapioca.flows.data import read_tasks, split_tasks
from tapioca.flows.folder import CHAT_DATE_KEY, choose_chat_date, choose_run_folder
from tapioca.flows.space import space_from_model
from tapioca.models.device import describe_idle_gpu
from tapioca.models.find import find_layers
from tapioca.models.identity import hash_model
from tapioca.models.inputs import find_input_device
from tapioca.models.load import LoadedModel, load
from tapioca.plan import Plan
from tapioca.progress import Progress
from tapioca.records import DataConfig, GenerateConfig, Metric, RunConfig, Scores
from tapioca.records.results import Domain
from tapioca.runs.store import Store
from tapioca.search.base import SearchSpace
from tapioca.tasks.base import Task, digest_example
from tapioca.tasks.batches import make_batches
from tapioca.tasks.chat import Clock

Tasks = dict[str, Task]
"""Live tasks by the names that a request calls them."""

NOT_IN_MANIFEST = {
    "model",
    "task",
    "reference",
    "test",
    "compat",
    "out",
    "plan",
    "dry_run",
    "classifier",
    "answers",
    "skip_bad_rows",
    "shuffle_choices",
    "too_long",
    "num_fewshot",
    "device",
    "state_memory",
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
class RunContext:
    """Everything a run works with.

    Attributes:
        space: what there is to drop.
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
        schedule: how plans run together.
    """

    config: RunConfig
    loaded: LoadedModel
    space: SearchSpace
    search: dict[Domain, Task]
    test: dict[Domain, Task]
    notes: tuple[str, ...]
    store: Store
    watcher: Progress
    schedule: Schedule

    @property
    def n_layers(self) -> int:
        """Layers of the full model."""
        return self.space.n_layers

    @property
    def metric(self) -> Metric:
        """What scores of this run mean."""
        return self.search["ood"].metric

    def header(self, *notes: str) -> dict[str, Any]:
        """The fields of `RunHeader`, with what is to be said beside the notes of the run."""
        return make_header(self.config, self.store.folder, self.store.manifest, (*self.notes, *notes))

    def evaluate(self, task: Task, plans: list[Plan], what: str, stopping: StoppingRule | None = None) -> Scores:
        """Score plans on a task, remembering every answer and showing progress; `stopping` may stop some of them."""
        self.watcher.stage(what, len(plans) * len(task.examples))
        return evaluate(
            self.loaded.model,
            task,
            plans,
            batch_size=self.config.batch_size,
            result_cache=self.store,
            on_batch=lambda plan, done: self.watcher.advance(done),
            stopping=stopping,
            seed=self.config.order_seed,
            schedule=self.schedule if task is self.search["ood"] else replace(self.schedule, state_cache=None),
        )


@dataclass(frozen=True, eq=False)
class RunInputs:
    """What every recipe starts from.

    Attributes:
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
        manifest: everything that could change an answer or a choice.
        tasks_by_role: the data sets before they were split, by role.
    """

    loaded: LoadedModel
    search: dict[Domain, Task]
    test: dict[Domain, Task]
    notes: tuple[str, ...]
    manifest: dict[str, Any]
    tasks_by_role: dict[str, Task]


def make_header(config: DataConfig, folder: Path, manifest: dict[str, Any], notes: tuple[str, ...]) -> dict[str, Any]:
    """The fields of `RunHeader`; a model's folder by its whole path."""
    return {
        "folder": folder,
        "command": config.command(),
        "model": str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
        "model_hash": manifest["model"],
        "task": config.task,
        "reference": config.reference,
        "notes": notes,
    }


def load_inputs(
    config: DataConfig, watcher: Progress, loaded: LoadedModel | None = None, tasks: Tasks | None = None
) -> RunInputs:
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
    loaded = loaded or load_configured_model(config)
    layers = find_layers(loaded.model)
    watcher.stage("reading the data", 0)
    manifest = _make_manifest(config, loaded)
    clock = Clock(choose_chat_date(config, manifest))
    tasks_by_role = read_tasks(config, loaded, tasks or {}, clock)
    tasks_by_role, search, test = split_tasks(config, tasks_by_role)
    idle = describe_idle_gpu(config.device) if find_input_device(loaded.model).type == "cpu" else ""
    notes = _data_notes(tasks_by_role, layers.path, len(layers), idle)
    manifest["data"] = {role: task.digest for role, task in tasks_by_role.items()}
    if skipped := {role: dict(task.skipped) for role, task in tasks_by_role.items() if task.skipped}:
        manifest["skipped"] = skipped
    if shots := {role: list(task.shots.per_prompt) for role, task in tasks_by_role.items() if task.shots}:
        manifest["num_fewshot"] = shots
    if clock.was_read:
        manifest[CHAT_DATE_KEY] = clock.day.isoformat()
        notes = (*notes, f"the chat template prints the date; in this run it is {clock.day} on every day (--chat-date)")
    for note in notes:
        watcher.note(note)
    return RunInputs(loaded, search, test, notes, manifest, tasks_by_role)


def load_configured_model(config: DataConfig | GenerateConfig) -> LoadedModel:
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


def open_run(
    config: RunConfig, watcher: Progress, loaded: LoadedModel | None = None, tasks: Tasks | None = None
) -> RunContext:
    """As `load_inputs`, and open the run folder."""
    ground = load_inputs(config, watcher, loaded, tasks)
    notes = _scoring_notes(config, ground)
    for note in notes:
        watcher.note(note)
    examples = {role: digest_examples(task) for role, task in ground.tasks_by_role.items()}
    store = Store(choose_run_folder(config, ground.manifest), ground.manifest, examples)
    return context_from_inputs(config, replace(ground, notes=(*ground.notes, *notes)), store, watcher)


def context_from_inputs(config: RunConfig, ground: RunInputs, store: Store, watcher: Progress) -> RunContext:
    """What a run works with, once its folder is open."""
    ood_batches = make_batches(ground.search["ood"], config.batch_size, config.order_seed)
    reuse = StateCache(allowed_state_bytes(config, ground.loaded), len(ood_batches))
    return RunContext(
        config=config,
        loaded=ground.loaded,
        space=space_from_model(ground.loaded.model, config),
        search=ground.search,
        test=ground.test,
        notes=ground.notes,
        store=store,
        watcher=watcher,
        schedule=Schedule(config.plan_batching, config.state_memory_bytes, reuse),
    )


def digest_examples(task: Task) -> np.ndarray:
    """A number for each example, by all that changes its answers and its place in splits and averages; uint64."""
    rules = f"{type(task).__name__} {task.metric.model_dump_json()} {task.cache_key}"
    example_keys = [f"{rules} {example.group} {example.weight} {digest_example(example)}" for example in task.examples]
    return np.frombuffer(b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in example_keys), np.uint64)


def allowed_state_bytes(config: RunConfig, loaded: LoadedModel) -> int:
    """Bytes for hidden states: what the user allows, else a quarter of what is free."""
    device = find_input_device(loaded.model)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return config.state_memory_bytes or free // 4


def _data_notes(tasks_by_role: dict[str, Task], path: str, n_layers: int, idle: str) -> tuple[str, ...]:
    """What was found or guessed, one line each."""
    notes = [f"{n_layers} layers at {path}", *filter(None, [idle])]
    for task in tasks_by_role.values():
        notes += [note for note in task.notes if note not in notes]
    return tuple(notes)


def _scoring_notes(config: RunConfig, ground: RunInputs) -> list[str]:
    """What a run that scores plans says beside."""
    roles: dict[str, Task] = {str(domain): task for domain, task in ground.search.items()}
    if config.test:
        roles["test"] = ground.test["ood"]
    notes = [
        f"all {role.upper()} prompts begin with {task.shared_prefix_length} tokens that are the same; read once a plan"
        for role, task in roles.items()
        if task.shared_prefix_length
    ]
    if "id" not in roles:
        notes.append("no --reference: what the plan does to ID data and to the geometry is not measured")
    return notes


def _make_manifest(config: DataConfig, loaded: LoadedModel) -> dict[str, Any]:
    """Everything but the data that could change an answer or a choice."""
    model = loaded.model
    settings = config.model_dump(mode="json", exclude=NOT_IN_MANIFEST)
    return {
        "model_type": model.config.model_type,
        "model": hash_model(model),
        "dtype": str(model.dtype),
        "device": find_input_device(model).type,
        "attention": model.config._attn_implementation,
        "settings": settings,
        "versions": {
            "tapioca": version("tapioca-prune"),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
