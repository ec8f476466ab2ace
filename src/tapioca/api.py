"""The public face in Python: what the commands do, for models and data that are already in memory."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Unpack

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tapioca.commands import COMMANDS, load_config_class
from tapioca.commands import options as taken
from tapioca.commands.bench.result import BenchResult
from tapioca.commands.bench.run import bench as run_bench
from tapioca.commands.bench.sides import GivenModels
from tapioca.commands.compare.result import CompareResult
from tapioca.commands.compensate.config import CompensateConfig
from tapioca.commands.compensate.run import compensate as run_compensate
from tapioca.commands.diagnose.result import DiagnoseResult
from tapioca.commands.enumerate.result import EnumerateResult
from tapioca.commands.export.result import Exported
from tapioca.commands.export.run import export
from tapioca.commands.geometry.result import GeometryResult
from tapioca.commands.heal.config import HealConfig
from tapioca.commands.heal.result import HealResult
from tapioca.commands.heal.run import heal as run_heal
from tapioca.commands.prune.result import PruneResult
from tapioca.commands.rescale.result import RescaleResult
from tapioca.commands.scale.result import ScaleResult
from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.result import VersusResult
from tapioca.commands.versus.run import versus as run_versus
from tapioca.errors import UsageError
from tapioca.models.load import LoadedModel, load_on_meta, load_tokenizer
from tapioca.plan import Compensation
from tapioca.progress import SILENT, Progress
from tapioca.records import RunConfig
from tapioca.report.screen import open_screen
from tapioca.session.context import load_inputs
from tapioca.session.data import read_task as read_named_task
from tapioca.session.live import Data, GivenData, Model, name_data, name_model
from tapioca.tasks.base import Task
from tapioca.tasks.rows import Rows, rows_in_memory
from tapioca.tasks.shots import with_own_shots

__all__ = [
    "Exported",
    "Session",
    "bench",
    "compare",
    "compensate",
    "diagnose",
    "enumerate",
    "export",
    "geometry",
    "heal",
    "prune",
    "read_task",
    "rescale",
    "scale",
    "versus",
]


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

    _shared = taken.SessionOptions.__annotations__.keys() | {"model", "task", "reference"}

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        task: Data,
        reference: Data | None = None,
        progress: bool = True,
        **options: Unpack[taken.SessionOptions],
    ):
        self._given = given = GivenData(model, tokenizer, task, reference)
        self._fields, self._progress = {**given.names(), **options}, progress
        config = _make_config(RunConfig, self._fields)
        with _open_screen(progress) as screen:
            self.inputs = given.load(config, screen) or load_inputs(config, screen)

    def prune(self, **options: Unpack[taken.PruneOptions]) -> PruneResult:
        """Search the layers whose removal helps on the OOD data, and judge the result on held-out data."""
        return self.run("prune", **options)

    def compare(self, **options: Unpack[taken.CompareOptions]) -> CompareResult:
        """Let several criteria choose plans on the same data, and judge them all on the same held-out data."""
        return self.run("compare", **options)

    def enumerate(self, **options: Unpack[taken.EnumerateOptions]) -> EnumerateResult:
        """Evaluate every plan that drops whole layers of a small model."""
        return self.run("enumerate", **options)

    def geometry(self, **options: Unpack[taken.GeometryOptions]) -> GeometryResult:
        """Measure the layerwise geometry of the OOD data against the ID data, before and after a plan."""
        return self.run("geometry", **options)

    def scale(self, **options: Unpack[taken.ScaleOptions]) -> ScaleResult:
        """Scale the layers that a plan drops, as many random layers, and all layers."""
        return self.run("scale", **options)

    def rescale(self, **options: Unpack[taken.RescaleOptions]) -> RescaleResult:
        """Give the residual stream the norms it has on ID inputs; nothing is dropped, no answer is used."""
        return self.run("rescale", **options)

    def diagnose(self, **options: Unpack[taken.DiagnoseOptions]) -> DiagnoseResult:
        """Say before any search, and without answers, whether the inputs are shifted, and what searches came to on such shifts."""
        return self.run("diagnose", **options)

    def versus(
        self,
        other: Model,
        other_tokenizer: PreTrainedTokenizerBase | None = None,
        **options: Unpack[taken.VersusOptions],
    ) -> VersusResult:
        """Hold another model against this one on the held-out rows of the session."""
        if options.get("run"):
            raise UsageError("a session compares on its own held-out rows; leave out run, or call tapioca.versus")
        given = replace(self._given, model=other, tokenizer=other_tokenizer)
        config = self._make_config("versus", {"other": given.names()["model"], **options})
        with _open_screen(self._progress) as screen:
            return run_versus(config, screen, self.inputs, (self._given, given))

    def bench(self, other: str | Path | None = None, **options: Unpack[taken.BenchOptions]) -> BenchResult:
        """Time the model beside itself under a plan, or beside another model; the data have no part in it."""
        return self.run("bench", other=other and str(other), **options)

    def run(self, command: str, **options: Any) -> Any:
        """Run a command by its name, as the methods do; the way to one that has no method here."""
        config = self._make_config(command, options)
        with _open_screen(self._progress) as screen:
            return resolve_name(COMMANDS[command].run)(config, screen, self.inputs)

    def _make_config(self, command: str, options: Mapping[str, Any]) -> Any:
        """The request of a command, with what the session was told."""
        config_class = load_config_class(COMMANDS[command])
        if repeated := sorted(options.keys() & self._shared):
            raise UsageError(f"{repeated[0]} is said when the session is made, not to {command}")
        _check_options(config_class, options)
        shared = {field: setting for field, setting in self._fields.items() if field in config_class.model_fields}
        return config_class(**shared, **options)


def prune(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[taken.PruneCall],
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
    return _run_once("prune", GivenData(model, tokenizer, task, reference), progress, options)


def compare(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[taken.CompareCall],
) -> CompareResult:
    """Let several criteria choose plans on the same data, and judge them all on the same held-out data.

    Arguments and errors are those of `prune`.

    Returns:
        The comparison: every plan chosen with its results and intervals, and what each criterion cost.
    """
    return _run_once("compare", GivenData(model, tokenizer, task, reference), progress, options)


def compensate(
    run: str | Path | PruneResult,
    by: Compensation = "linear",
    *,
    model: str | Path | None = None,
    task: str | Path | None = None,
    reference: str | Path | None = None,
    progress: bool = True,
    take_over: bool = False,
) -> PruneResult:
    """Make up for the layers that the plan of a finished run drops, and judge it again beside the plain one.

    What is fitted reads search inputs and none of their answers. The run's folder becomes that of the compensated plan. For
    models and data in memory call `prune` again with `compensate`, and with the same `out`.

    Args:
        run: a run folder, or its record.
        by: "scale", a factor of the residual stream behind each gap, or "linear", a linear map of what the MLP in front adds.
        model, task, reference: where they are now, if they were moved.
        progress: show a progress display.
        take_over: take the folder although another process that you know to be gone seems to work in it.

    Returns:
        The run with the compensated plan; `compensation` says what that changed.

    Raises:
        TapiocaError: there is no such run, or model or data are not those it was made with.
    """
    folder = run.folder if isinstance(run, PruneResult) else Path(run)
    places = {
        name: place and str(place) for name, place in {"model": model, "task": task, "reference": reference}.items()
    }
    config = CompensateConfig(run=folder, by=by, take_over=take_over, **places)
    with _open_screen(progress) as screen:
        return run_compensate(config, screen)


def heal(
    run: str | Path | PruneResult, *, out: str | Path | None = None, progress: bool = True, **settings: Any
) -> HealResult:
    """Train what the plan of a finished run leaves, and judge it on the run's test rows beside the full model.

    Args:
        run: a run folder, or its record.
        out: folder of the results; by default the run's with -healed behind it.
        progress: show a progress display.
        settings: the options of `tapioca heal` by their names, such as steps, by, full, orders.

    Returns:
        What training and pruning changed; `folder / checkpoint` is the healed model, an ordinary checkpoint.

    Raises:
        TapiocaError: there is no such run, it drops nothing, or rows to train on are rows that it is judged on.
    """
    folder = run.folder if isinstance(run, PruneResult) else Path(run)
    config = HealConfig(run=folder, out=out and Path(out), **settings)
    with _open_screen(progress) as screen:
        return run_heal(config, screen)


def scale(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[taken.ScaleCall],
) -> ScaleResult:
    """Scale the layers that a plan drops, as many random layers, and all layers: how score and geometry answer.

    The residual-scaling intervention of TAPIOCA (arXiv 2605.14738): a layer adds alpha times its update, h + alpha (layer(h) - h).
    Arguments and errors are those of `prune`; of the options `plan` says whose drops are scaled, and `scales` by what:
    at 0 the model is under the plan, at 1 it is as it came.

    Returns:
        The curves of the chosen layers and of all layers with intervals and trends, and those of random layers; without
        a reference there are no deviations.
    """
    return _run_once("scale", GivenData(model, tokenizer, task, reference), progress, options)


def rescale(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Unpack[taken.RescaleCall],
) -> RescaleResult:
    """Give the residual stream the norms it has on ID inputs in front of every layer; nothing is dropped, no answer is used.

    Arguments and errors are those of `prune`.

    Returns:
        The plans that set the norms, and what they change on held-out data; stored in its `folder`.
    """
    return _run_once("rescale", GivenData(model, tokenizer, task, reference), progress, options)


def versus(
    model: Model,
    other: Model,
    *,
    task: Data | None = None,
    reference: Data | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    other_tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool = True,
    **options: Unpack[taken.VersusCall],
) -> VersusResult:
    """Ask two models the same held-out rows, each by its own tokenizer, and judge what the second changes over the first.

    Args:
        model, tokenizer: A, as for `prune`.
        other, other_tokenizer: B.
        task, reference: the OOD and the ID data, all of whose rows are compared; with `run` only where they were moved.
        progress: show a progress display.
        options: as on the command line (`VersusConfig`); `run` takes exactly the test rows of a finished run.

    Returns:
        The comparison on each data set with its interval, and the verdict; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong: also where a model was searched or tuned on one of the rows.
    """
    given = GivenData(model, tokenizer, task, reference), GivenData(other, other_tokenizer, task, reference)
    names = {**given[0].names(), "other": given[1].names()["model"]}
    config = _make_config(VersusConfig, {**names, **options})
    with _open_screen(progress) as screen:
        return run_versus(config, screen, given=given)


def enumerate(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Unpack[taken.EnumerateCall],
) -> EnumerateResult:
    """Evaluate every plan that drops whole layers of a small model. Arguments and errors are those of `prune`.

    Returns:
        All plans with their gains and realignments, and for each number of drops the oracle, greedy's regret, and the
        rank correlation of realignment with gain.
    """
    return _run_once("enumerate", GivenData(model, tokenizer, task, reference), progress, options)


def geometry(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Unpack[taken.GeometryCall],
) -> GeometryResult:
    """Measure the layerwise geometry of a task's prompts against those of a reference, before and after a plan.

    Arguments and errors are those of `prune`; answers are not used.

    Returns:
        Profiles, deviations with their tests, attribution to layers, the field's measures and what each layer adds to
        the residual stream; stored in its `folder`.
    """
    return _run_once("geometry", GivenData(model, tokenizer, task, reference), progress, options)


def diagnose(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Unpack[taken.DiagnoseCall],
) -> DiagnoseResult:
    """Say before any search, and without answers, whether inputs are shifted, and what searches came to on such shifts.

    Arguments and errors are those of `prune`; answers are not used.

    Returns:
        The verdict in `diagnosis`, the evidence, what to expect of pruning and how well the classifier does; stored in its `folder`.
    """
    return _run_once("diagnose", GivenData(model, tokenizer, task, reference), progress, options)


def bench(
    model: Model, other: Model | None = None, *, progress: bool = True, **options: Unpack[taken.BenchCall]
) -> BenchResult:
    """Time a model beside itself under a plan and beside a checkpoint of that plan, or beside another model.

    Args:
        model: a folder or a hub id, or a live transformers model.
        other: another model; with `plan` a checkpoint of it, else one is exported for the time.
        progress: show a progress display.
        options: as on the command line (`BenchConfig`).

    Returns:
        Seconds of every round, time ratios with their intervals, sizes and memory; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    names = {name: name_model(given) for name, given in {"model": model, "other": other}.items() if given is not None}
    config = _make_config(load_config_class(COMMANDS["bench"]), {**names, **options})
    live = (LoadedModel(given, None) if isinstance(given, PreTrainedModel) else None for given in (model, other))
    with _open_screen(progress) as screen:
        return run_bench(config, screen, GivenModels(*live))


def read_task(
    source: str | Path | Rows,
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **options: Unpack[taken.TaskOptions],
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
    return with_own_shots(read_named_task(name_data(source, "rows"), loaded, dict(options), rows))


def _run_once(name: str, given: GivenData, progress: bool, options: Mapping[str, Any]) -> Any:
    """Make the request of a command and run it."""
    config = _make_config(load_config_class(COMMANDS[name]), {**given.names(), **options})
    with _open_screen(progress) as screen:
        return resolve_name(COMMANDS[name].run)(config, screen, given.load(config, screen))


def _make_config(config_class: Any, fields: Mapping[str, Any]) -> Any:
    """A request.

    Raises:
        UsageError: an option is unknown, or wrong.
    """
    _check_options(config_class, fields)
    return config_class(**fields)


def _check_options(config_class: Any, fields: Mapping[str, Any]) -> None:
    """Refuse with a UsageError what a command does not take."""
    if fields.get("dry_run"):
        raise UsageError("dry_run prints and returns nothing; use `tapioca prune ... --dry-run` in a shell")
    if unknown := sorted(fields.keys() - config_class.options().keys()):
        raise UsageError(f"unknown option {unknown[0]}; expected one of {', '.join(config_class.options())}")


def _open_screen(progress: bool) -> AbstractContextManager[Progress]:
    return open_screen(Console(stderr=True)) if progress else nullcontext(SILENT)
