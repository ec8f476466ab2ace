"""The public face in Python: what the commands do, for models and data that are already in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Unpack

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tapioca.commands import COMMANDS, load_config_class
from tapioca.commands.compare.result import CompareResult
from tapioca.commands.diagnose.result import DiagnoseResult
from tapioca.commands.enumerate.result import EnumerateResult
from tapioca.commands.export.result import Exported
from tapioca.commands.export.run import export
from tapioca.commands.geometry.result import GeometryResult
from tapioca.commands.options import (
    CompareCall,
    CompareOptions,
    DiagnoseCall,
    DiagnoseOptions,
    EnumerateCall,
    EnumerateOptions,
    GeometryCall,
    GeometryOptions,
    PruneCall,
    PruneOptions,
    ScaleCall,
    ScaleOptions,
    SessionOptions,
    TaskOptions,
)
from tapioca.commands.prune.result import PruneResult
from tapioca.commands.scale.result import ScaleResult
from tapioca.errors import UsageError
from tapioca.models.identity import describe_model
from tapioca.models.load import LoadedModel, load_on_meta, load_tokenizer
from tapioca.progress import SILENT, Progress
from tapioca.records import DataConfig, RunConfig
from tapioca.report.screen import LiveScreen
from tapioca.session.context import RunInputs, load_configured_model, load_inputs
from tapioca.session.data import read_task as read_named_task
from tapioca.tasks.base import Task
from tapioca.tasks.limit import Limit
from tapioca.tasks.rows import Rows, rows_in_memory
from tapioca.tasks.shots import with_own_shots

__all__ = [
    "Exported",
    "Session",
    "compare",
    "diagnose",
    "enumerate",
    "export",
    "geometry",
    "prune",
    "read_task",
    "scale",
]

Model = str | Path | PreTrainedModel
"""A folder, a hub id, or a live transformers model."""
Data = str | Path | Task | Rows
"""A file or another source by its name, rows in memory, or a task object."""


class Session:
    """A model and its data, loaded and split once, for as many commands as you like.

    ```py
    session = tapioca.Session(model, tokenizer, task="drifted.jsonl", reference="clean.jsonl")
    run = session.prune()
    session.geometry(plan=run.plan)
    ```

    Every method takes the options of the command of its name and returns what that finds, stored in its `folder`; a
    mistake is a `TapiocaError` of one line.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task, reference: the OOD and the ID data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        progress: show a progress display.
        options: how the model and the data are read and split, as on the command line.

    Raises:
        TapiocaError: one line about what is wrong.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        task: Data,
        reference: Data | None = None,
        progress: bool = True,
        **options: Unpack[SessionOptions],
    ):
        given = _Given(model, tokenizer, task, reference)
        self._fields, self._progress = {**given.names(), **options}, progress
        config = _make_config(RunConfig, self._fields)
        with _open_screen(progress) as screen:
            self.inputs = given.load(config, screen) or load_inputs(config, screen)

    def prune(self, **options: Unpack[PruneOptions]) -> PruneResult:
        """Search the layers whose removal helps on the OOD data, and judge the result on held-out data."""
        return self._run("prune", options)

    def compare(self, **options: Unpack[CompareOptions]) -> CompareResult:
        """Let several criteria choose plans on the same data, and judge them all on the same held-out data."""
        return self._run("compare", options)

    def enumerate(self, **options: Unpack[EnumerateOptions]) -> EnumerateResult:
        """Evaluate every plan that drops whole layers of a small model."""
        return self._run("enumerate", options)

    def geometry(self, **options: Unpack[GeometryOptions]) -> GeometryResult:
        """Measure the layerwise geometry of the OOD data against the ID data, before and after a plan."""
        return self._run("geometry", options)

    def scale(self, **options: Unpack[ScaleOptions]) -> ScaleResult:
        """Scale the layers that a plan drops, as many random layers, and all layers."""
        return self._run("scale", options)

    def diagnose(self, **options: Unpack[DiagnoseOptions]) -> DiagnoseResult:
        """Say before any search, and without answers, whether the inputs are in distribution, distorted or misaligned."""
        return self._run("diagnose", options)

    def _run(self, name: str, options: Mapping[str, Any]) -> Any:
        record = load_config_class(COMMANDS[name])
        if taken := sorted(options.keys() & RunConfig.model_fields.keys() - PruneOptions.__annotations__.keys()):
            raise UsageError(f"{taken[0]} is said when the session is made, not to {name}")
        shared = {field: setting for field, setting in self._fields.items() if field in record.model_fields}
        with _open_screen(self._progress) as screen:
            return resolve_name(COMMANDS[name].run)(_make_config(record, {**shared, **options}), screen, self.inputs)


def prune(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[PruneCall],
) -> PruneResult:
    """Search the layers whose removal helps on a task, and judge the result on held-out data.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task, reference: the OOD and the ID data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        progress: show a progress display.
        options: as on the command line (`PruneConfig`).

    Returns:
        The run: plan, verdict, judgements with intervals, profiles; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run_once("prune", _Given(model, tokenizer, task, reference), progress, options)


def compare(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[CompareCall],
) -> CompareResult:
    """Let several criteria choose plans on the same data, and judge them all on the same held-out data.

    Arguments and errors are those of `prune`.

    Returns:
        The comparison: every plan chosen with its results and intervals, and what each criterion cost.
    """
    return _run_once("compare", _Given(model, tokenizer, task, reference), progress, options)


def scale(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[ScaleCall],
) -> ScaleResult:
    """Scale the layers that a plan drops, as many random layers, and all layers: how score and geometry answer.

    The residual-scaling intervention of TAPIOCA (arXiv 2605.14738): a layer adds alpha times its update, h + alpha (layer(h) - h).
    Arguments and errors are those of `prune`; of the options `plan` says whose drops are scaled, and `scales` by what:
    at 0 the model is under the plan, at 1 it is as it came.

    Returns:
        The curves of the chosen layers and of all layers with intervals and trends, and those of random layers; without
        a reference there are no deviations.
    """
    return _run_once("scale", _Given(model, tokenizer, task, reference), progress, options)


def enumerate(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[EnumerateCall],
) -> EnumerateResult:
    """Evaluate every plan that drops whole layers of a small model. Arguments and errors are those of `prune`.

    Returns:
        All plans with their gains and realignments, and for each number of drops the oracle, greedy's regret, and the
        rank correlation of realignment with gain.
    """
    return _run_once("enumerate", _Given(model, tokenizer, task, reference), progress, options)


def geometry(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Unpack[GeometryCall],
) -> GeometryResult:
    """Measure the layerwise geometry of a task's prompts against those of a reference, before and after a plan.

    Arguments and errors are those of `prune`; answers are not used.

    Returns:
        Profiles, deviations with their tests, attribution to layers, the field's measures and what each layer adds to
        the residual stream; stored in its `folder`.
    """
    return _run_once("geometry", _Given(model, tokenizer, task, reference), progress, options)


def diagnose(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Unpack[DiagnoseCall],
) -> DiagnoseResult:
    """Say before any search, and without answers, whether inputs are in distribution, distorted or misaligned.

    Arguments and errors are those of `prune`; answers are not used.

    Returns:
        The verdict in `diagnosis`, the evidence, what to expect of pruning and how well the classifier does; stored in its `folder`.
    """
    return _run_once("diagnose", _Given(model, tokenizer, task, reference), progress, options)


def read_task(
    source: str | Path | Rows,
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **options: Unpack[TaskOptions],
) -> Task:
    """Read data as a model is asked it, for `tapioca.evaluate` and `tapioca.observe`.

    Args:
        source: whatever `--task` takes; or rows: a pandas DataFrame, a `datasets.Dataset`, a list of dicts.
        model: a live model; of a folder or a hub id no weights are loaded.
        tokenizer: of a live model.
        options: what a task's YAML may say: `kind`, `template`, `fields`, `labels`, ...

    Returns:
        The task; its `notes` say what was guessed.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    if isinstance(model, PreTrainedModel):
        loaded = LoadedModel(model, tokenizer)
    else:
        loaded = LoadedModel(load_on_meta(model), load_tokenizer(model))
    rows = None if isinstance(source, str | Path) else rows_in_memory(source)
    return with_own_shots(read_named_task(_name_data(source, "rows"), loaded, dict(options), rows))


@dataclass(frozen=True, eq=False)
class _Given:
    """A model and data as a caller names or hands them over."""

    model: Model
    tokenizer: PreTrainedTokenizerBase | None
    task: Data
    reference: Data | None

    def names(self) -> dict[str, Any]:
        """What a request calls them.

        Raises:
            UsageError: two tasks have one name.
        """
        task = _name_data(self.task, "rows")
        reference = None if self.reference is None else _name_data(self.reference, "reference rows")
        if task == reference and isinstance(self.task, Task) and isinstance(self.reference, Task):
            raise UsageError(f"task and reference are both named '{task}'; give them different names")
        model = describe_model(self.model) if isinstance(self.model, PreTrainedModel) else str(self.model)
        return {"model": model, "task": task, "reference": reference}

    def load(self, config: DataConfig, progress: Progress) -> RunInputs | None:
        """What is in memory, loaded with the rest; None where everything is given by its name."""
        loaded = LoadedModel(self.model, self.tokenizer) if isinstance(self.model, PreTrainedModel) else None
        tasks: dict[str, Task] = {}
        for name, data in {config.task: self.task, config.reference: self.reference}.items():
            if isinstance(data, Task):
                tasks[str(name)] = data
            elif name is not None and not isinstance(data, str | Path | None):
                loaded = loaded or load_configured_model(config)
                limit = Limit(config.limit, config.seed) if config.limit else None
                tasks[name] = read_named_task(name, loaded, config.task_options(), rows_in_memory(data), limit=limit)
        return load_inputs(config, progress, loaded, tasks) if loaded or tasks else None


def _run_once(name: str, given: _Given, progress: bool, options: Mapping[str, Any]) -> Any:
    """Make the request of a command and run it."""
    config = _make_config(load_config_class(COMMANDS[name]), {**given.names(), **options})
    with _open_screen(progress) as screen:
        return resolve_name(COMMANDS[name].run)(config, screen, given.load(config, screen))


def _make_config(record: Any, fields: Mapping[str, Any]) -> Any:
    """A request.

    Raises:
        UsageError: an option is unknown, or wrong.
    """
    if unknown := sorted(fields.keys() - record.model_fields.keys()):
        raise UsageError(f"unknown option {unknown[0]}; expected one of {', '.join(record.model_fields)}")
    return record(**fields)


def _open_screen(progress: bool) -> AbstractContextManager[Progress]:
    return LiveScreen(Console(stderr=True)) if progress else nullcontext(SILENT)


def _name_data(data: Data, otherwise: str) -> str:
    """What data are called; `otherwise` where they are rows in memory."""
    name = data.name if isinstance(data, Task) else data
    return str(name) if isinstance(name, str | Path) else otherwise
