"""What every command starts from: the model, its data split once, and the run folder that belongs to them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Schedule
from tapioca.errors import UsageError
from tapioca.evaluate import Scorer, StoppingRule, evaluate
from tapioca.models.device import describe_idle_gpu
from tapioca.models.find import find_layers
from tapioca.models.identity import hash_model
from tapioca.models.inputs import find_input_device
from tapioca.models.load import LoadedModel
from tapioca.plan import Answerer
from tapioca.progress import Progress
from tapioca.records import DataConfig, Metric, RunConfig, Scores
from tapioca.records.portable import portable_name
from tapioca.records.results import Domain
from tapioca.runs.folder import claim_folder
from tapioca.runs.lock import FolderLock
from tapioca.runs.store import Store
from tapioca.search.base import SearchSpace
from tapioca.session.data import Divide, LiveData, read_tasks, split_tasks
from tapioca.session.folder import CHAT_DATE_KEY, choose_chat_date, choose_run_folder, describe_setup
from tapioca.session.reading import describe_reading, list_roles_with_contexts, set_reading
from tapioca.session.scorers import allowed_state_bytes, load_configured_model, open_scorer
from tapioca.session.search_space import space_from_model
from tapioca.tasks.base import Task, digest_example
from tapioca.tasks.batches import make_batches
from tapioca.tasks.chat import Clock

C = TypeVar("C", bound=RunConfig)


@dataclass(eq=False)
class RunInputs:
    """A model and its data, split.

    Attributes:
        loaded: the model, and its tokenizer.
        model_hash: names the model by configuration, weights and dtype.
        search, test: the splits of each data set; nothing found on `search` is a result.
        notes: what was guessed or noticed, to be said aloud.
        data_manifest: what of the data could change an answer or a choice.
        tasks_by_role: the whole data sets by role, with the worked examples that their prompts show.
        is_live: whether the model was in memory already, so that no name leads to it.
    """

    loaded: LoadedModel
    model_hash: str
    search: dict[Domain, Task]
    test: dict[Domain, Task]
    notes: tuple[str, ...]
    data_manifest: dict[str, Any]
    tasks_by_role: dict[str, Task]
    is_live: bool

    def make_manifest(self, config: DataConfig, **more: Any) -> dict[str, Any]:
        """Everything that could change an answer or a choice; `more` is what a command has of its own."""
        return describe_setup(config, self.loaded, self.model_hash) | self.data_manifest | more


@dataclass(eq=False)
class RunContext(RunInputs, Generic[C]):
    """Everything a run that scores plans works with: its inputs, and these.

    Attributes:
        config: the request.
        space: what there is to drop.
        store: keeps every answer.
        schedule: how plans run together in this process.
        scorer: others that compute answers instead of it.
    """

    config: C
    space: SearchSpace
    store: Store
    progress: Progress
    schedule: Schedule
    scorer: Scorer | None = None

    @property
    def n_layers(self) -> int:
        """Layers of the full model."""
        return self.space.n_layers

    @property
    def metric(self) -> Metric:
        """What scores of this run mean."""
        return self.search["ood"].metric

    def add_notes(self, *notes: str) -> None:
        """Say something aloud, and in the record."""
        for note in notes:
            self.progress.note(note)
        self.notes = (*self.notes, *notes)

    def header(self) -> dict[str, Any]:
        """The fields of `RunHeader`."""
        return make_header(self.config, self.store.folder, self.store.manifest, self.notes)

    def evaluate(
        self, task: Task, plans: Sequence[Answerer], what: str, stopping: StoppingRule | None = None
    ) -> Scores:
        """Score plans on a task, remembering every answer and showing progress; `stopping` may stop some of them."""
        self.progress.stage(what, len(plans) * len(task.examples))
        return evaluate(
            self.loaded.model,
            task,
            plans,
            batch_size=self.config.batch_size,
            result_cache=self.store,
            on_batch=lambda plan, done: self.progress.advance(done),
            stopping=stopping,
            seed=self.config.order_seed,
            schedule=self.schedule if task is self.search["ood"] else replace(self.schedule, state_cache=None),
            scorer=self.scorer,
        )


AnyRun = RunContext[Any]


def make_header(config: DataConfig, folder: Path, manifest: dict[str, Any], notes: tuple[str, ...]) -> dict[str, Any]:
    """The fields of `RunHeader`."""
    return {
        "folder": folder,
        "command": config.command(),
        "model": portable_name(config.model),
        "model_hash": manifest["model"],
        "task": portable_name(config.task),
        "reference": config.reference and portable_name(config.reference),
        "notes": notes,
    }


def load_inputs(
    config: DataConfig,
    progress: Progress,
    loaded: LoadedModel | None = None,
    live: LiveData | None = None,
    divide: Divide = split_tasks,
) -> RunInputs:
    """Load the model, read the data and split them.

    Args:
        config: the request.
        progress: told what was guessed.
        loaded: a live model to use instead of loading `config.model`.
        live: tasks and rows by their name in `config`, used instead of reading files.
        divide: makes the search and the test splits of the data.
    """
    progress.stage(f"loading {config.model}", 0)
    if loaded and config.adapter:
        raise UsageError(
            "a live model takes no adapter; merge it into the weights first, with peft's merge_and_unload()"
        )
    is_live, loaded = loaded is not None, loaded or load_configured_model(config)
    layers = find_layers(loaded.model)
    progress.stage("reading the data", 0)
    model_hash = hash_model(loaded.model)
    clock = Clock(choose_chat_date(config, describe_setup(config, loaded, model_hash)))
    tasks_by_role = read_tasks(config, loaded, live or {}, clock)
    tasks_by_role, search, test = divide(config, tasks_by_role)
    idle_gpu_note = describe_idle_gpu(config.device) if find_input_device(loaded.model).type == "cpu" else ""
    notes = _data_notes(tasks_by_role, layers.path, len(layers), idle_gpu_note)
    manifest: dict[str, Any] = {"data": {role: task.digest for role, task in tasks_by_role.items()}}
    if skipped := {role: dict(task.skipped) for role, task in tasks_by_role.items() if task.skipped}:
        manifest["skipped"] = skipped
    if shots := {role: list(task.shots.per_prompt) for role, task in tasks_by_role.items() if task.shots}:
        manifest["num_fewshot"] = shots
    if clock.was_read:
        manifest[CHAT_DATE_KEY] = clock.day.isoformat()
        notes = (*notes, f"the chat template prints the date; in this run it is {clock.day} on every day (--chat-date)")
    for note in notes:
        progress.note(note)
    return RunInputs(loaded, model_hash, search, test, notes, manifest, tasks_by_role, is_live)


@contextmanager
def open_folder(config: DataConfig, inputs: RunInputs, **more: Any) -> Iterator[dict[str, Any]]:
    """Hold the folder of a run that stores no answers; gives the fields of its `RunHeader`.

    Args:
        config: the request.
        inputs: its model and data.
        more: what could change a result beside these, for the manifest.
    """
    manifest = inputs.make_manifest(config, **more)
    folder = choose_run_folder(config, manifest)
    with FolderLock(folder, config.take_over):
        yield make_header(config, folder, claim_folder(folder, manifest), inputs.notes)


@contextmanager
def open_run(config: C, progress: Progress, inputs: RunInputs | None = None) -> Iterator[RunContext[C]]:
    """Hold the run folder of a request, and load its model and data where they are not given."""
    inputs = choose_reading(config, inputs or load_inputs(config, progress))
    notes = _scoring_notes(config, inputs)
    for note in notes:
        progress.note(note)
    examples = {role: digest_examples(task) for role, task in inputs.tasks_by_role.items()}
    manifest = inputs.make_manifest(config)
    with Store(choose_run_folder(config, manifest), manifest, examples, config.take_over) as store:
        for note in store.notes:  # about the disk, so none of the record
            progress.note(note)
        context = context_from_inputs(config, replace(inputs, notes=(*inputs.notes, *notes)), store, progress)
        model = inputs.loaded, inputs.model_hash, inputs.is_live
        with open_scorer(config, *model, inputs.search["ood"], progress) as context.scorer:
            yield context


def choose_reading(config: RunConfig, inputs: RunInputs) -> RunInputs:
    """The same inputs, with rows read as a request says; the way of reading is a part of the manifest."""
    tasks_by_role = set_reading(config, inputs.tasks_by_role)
    reading = {"shared_contexts": True} if list_roles_with_contexts(tasks_by_role) else {}
    return replace(
        inputs,
        search=set_reading(config, inputs.search),
        test=set_reading(config, inputs.test),
        tasks_by_role=tasks_by_role,
        data_manifest={**inputs.data_manifest, **reading},
    )


def context_from_inputs(config: C, inputs: RunInputs, store: Store, progress: Progress) -> RunContext[C]:
    """What a run works with, once its folder is open."""
    ood_batches = make_batches(inputs.search["ood"], config.batch_size, config.order_seed)
    state_cache = StateCache(allowed_state_bytes(config, inputs.loaded), len(ood_batches))
    return RunContext(
        **vars(inputs),
        config=config,
        space=space_from_model(inputs.loaded.model, config),
        store=store,
        progress=progress,
        schedule=Schedule(config.plan_batching, config.state_memory_bytes, state_cache),
    )


def digest_examples(task: Task) -> np.ndarray:
    """A number for each example, by all that changes its answers and its place in splits and averages; uint64."""
    rules = f"{type(task).__name__} {task.metric.model_dump_json()} {task.cache_key}"
    example_keys = [f"{rules} {example.group} {example.weight} {digest_example(example)}" for example in task.examples]
    return np.frombuffer(b"".join(hashlib.sha256(key.encode()).digest()[:8] for key in example_keys), np.uint64)


def _data_notes(tasks_by_role: dict[str, Task], path: str, n_layers: int, idle_gpu_note: str) -> tuple[str, ...]:
    """What was found or guessed, one line each."""
    notes = [f"{n_layers} layers at {path}", *filter(None, [idle_gpu_note])]
    for task in tasks_by_role.values():
        notes += [note for note in task.notes if note not in notes]
    return tuple(notes)


def _scoring_notes(config: RunConfig, inputs: RunInputs) -> list[str]:
    """What a run that scores plans also says."""
    roles: dict[str, Task] = {str(domain): task for domain, task in inputs.search.items()}
    if config.test:
        roles["test"] = inputs.test["ood"]
    notes = [
        f"all {role.upper()} prompts begin with {task.shared_prefix_length} tokens that are the same; read once a plan"
        for role, task in roles.items()
        if task.shared_prefix_length
    ]
    notes += describe_reading(inputs.loaded.model, roles)
    if "id" not in roles:
        notes.append(config.without_reference)
    return notes
