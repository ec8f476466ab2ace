"""The two sides of a comparison: what each model is asked, and the model itself, of which only one is in memory at a time."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.places import recall_run_places
from tapioca.commands.prune.result import read_run
from tapioca.commands.versus.config import OWN_SETTINGS, VersusConfig
from tapioca.commands.versus.result import ComparedModel
from tapioca.errors import StoreError, UsageError
from tapioca.models.cost import count_parameters
from tapioca.models.find import find_layers
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import NullProgress, Progress
from tapioca.records import RunConfig
from tapioca.records.portable import portable_name
from tapioca.records.results import Domain
from tapioca.runs.folder import read_manifest
from tapioca.runs.rows import RUN_ROWS, RunRows, read_run_rows
from tapioca.session.context import RunInputs, load_inputs
from tapioca.session.data import Divide
from tapioca.session.folder import CHAT_DATE_KEY
from tapioca.session.live import GivenData
from tapioca.session.rows import read_known_rows, take_all, take_rows
from tapioca.session.scorers import load_configured_model
from tapioca.tasks.base import Task


class SideConfig(RunConfig):
    """What one of the two models is asked."""

    verb = "versus"
    without_reference = "no ID data: what B changes there is not measured"


@dataclass(frozen=True)
class PairRequest:
    """What both models are asked.

    Attributes:
        sides: the same settings for A and for B.
        divide: takes the rows that are compared.
    """

    sides: tuple[SideConfig, SideConfig]
    divide: Divide

    @classmethod
    def from_config(cls, config: VersusConfig) -> Self:
        """Settings of the command line, and those of the run whose rows are taken.

        Raises:
            StoreError: there is no such run, or it does not say which rows it had.
            UsageError: settings are missing, or said twice.
        """
        config.check()
        settings = {name: getattr(config, name) for name in RunConfig.model_fields}
        divide: Divide = take_all
        if config.run:
            brought, rows = read_run_request(config.run)
            moved = {name: place for name in ("task", "reference") if (place := getattr(config, name))}
            settings = brought | {name: settings[name] for name in OWN_SETTINGS} | moved
            divide = take_rows(rows, str(config.run))
        first = SideConfig(**settings)
        changes = {"model": config.other, "revision": config.other_revision, "adapter": config.other_adapter}
        return cls((first, first.model_copy(update=changes)), divide)


def read_run_request(folder: Path) -> tuple[dict[str, Any], RunRows]:
    """How a run asked its rows, and which it was judged on.

    Raises:
        StoreError: there is no such run, or it was made before rows were kept.
    """
    info = read_run(folder)
    if not (rows := read_run_rows(folder)):
        raise StoreError(
            f"{folder} has no {RUN_ROWS}, so it is not known which rows it was judged on; run its command again"
        )
    request = PruneConfig.from_command(info.command)
    brought = {name: getattr(request, name) for name in RunConfig.model_fields} | recall_run_places(info)
    return brought | {"chat_date": read_manifest(folder).get(CHAT_DATE_KEY) or request.chat_date}, rows


class SideProgress(NullProgress):
    """Tells how far one side is, and keeps what is noted of it, so that what is so for both is said once.

    Attributes:
        notes: what was noted so far.
    """

    def __init__(self, progress: Progress, letter: str):
        self._progress, self._letter, self.shows_logs = progress, letter, progress.shows_logs
        self.notes: list[str] = []

    def stage(self, what: str, total: int) -> None:
        self._progress.stage(f"{self._letter}: {what}", total)

    def advance(self, steps: int) -> None:
        self._progress.advance(steps)

    def note(self, text: str) -> None:
        self.notes.append(text)


def note_both(progress: Progress, first: SideProgress, second: SideProgress) -> None:
    """Say what was noted of the two sides."""
    for note in merge_notes(first.notes, second.notes):
        progress.note(note)


def merge_notes(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """What was noted of A and of B: what is so for one alone with its letter, the rest once."""
    notes = [note if note in second else f"A: {note}" for note in first]
    return (*notes, *(f"B: {note}" for note in second if note not in first))


@dataclass(eq=False)
class Side:
    """One model, and the rows as it reads them.

    Attributes:
        letter: A or B.
        config: what it is asked.
        given: what of it and of the data is in memory already.
        parts: of its `RunInputs`, all but the model.
        loaded: the model, while it is in memory.
        manifest: what could change its answers.
        seen: rows that it was searched or tuned on; None where nothing is known.
        n_layers, parameters: its size.
    """

    letter: str
    config: SideConfig
    given: GivenData | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    loaded: LoadedModel | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    seen: frozenset[str] | None = None
    n_layers: int = 0
    parameters: int = 0

    def load(self, progress: Progress, divide: Divide, inputs: RunInputs | None = None) -> None:
        """Load the model and read its rows, where `inputs` are not those.

        Raises:
            UsageError: the data are a task object, which holds the tokens of one model.
        """
        live = self.given.name_live(self.config) if self.given else {}
        for name, data in live.items():
            if isinstance(data, Task) and isinstance(data.examples[0].prompt, tuple):
                raise UsageError(
                    f"{name} is a task object, which holds the tokens of one model; give its rows, or a file"
                )
        loaded = self.given.loaded if self.given else None
        inputs = inputs or load_inputs(self.config, progress, loaded, live, divide)
        self.parts, self.loaded = {name: part for name, part in vars(inputs).items() if name != "loaded"}, inputs.loaded
        self.manifest = inputs.make_manifest(self.config)
        model = inputs.loaded.model
        self.n_layers = len(find_layers(model))
        self.parameters = count_parameters(model, Plan.full(self.n_layers))
        self.seen = read_known_rows(self.config, inputs.is_live)

    @property
    def test(self) -> dict[Domain, Task]:
        """The rows that are compared, as this model reads them."""
        tasks: dict[Domain, Task] = self.parts["test"]
        return tasks

    def keep_rows(self, test: dict[Domain, Task]) -> None:
        """Compare on these rows alone."""
        self.parts["test"] = test

    def release(self) -> None:
        """Let the model go, so that there is room for the other; one that a caller holds stays."""
        if not self.parts["is_live"]:
            self.loaded = None
            gc.collect()  # hooks and blocks hold each other

    def open(self) -> RunInputs:
        """The model with its rows, loaded again where it was let go."""
        self.loaded = self.loaded or load_configured_model(self.config)
        return RunInputs(loaded=self.loaded, **self.parts)

    def describe(self) -> ComparedModel:
        """What is said of the model."""
        return ComparedModel(
            name=portable_name(self.config.model),
            model_hash=self.manifest["model"],
            n_layers=self.n_layers,
            parameters=self.parameters,
            dtype=self.manifest["dtype"].removeprefix("torch."),
            seen_rows=None if self.seen is None else len(self.seen),
            mean_tokens={
                domain: sum(example.length for example in task.examples) / len(task.examples)
                for domain, task in self.test.items()
            },
        )
