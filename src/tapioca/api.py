"""The public face in Python: what the commands do, for models and tasks that are already in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tapioca.errors import UsageError
from tapioca.flows.compare import compare as compare_flow
from tapioca.flows.data import read_task as read_named_task
from tapioca.flows.diagnose import diagnose as diagnose_flow
from tapioca.flows.enumerate import enumerate_plans as enumerate_flow
from tapioca.flows.export import Exported, export
from tapioca.flows.geometry import measure_geometry as geometry_flow
from tapioca.flows.prepare import load_configured_model
from tapioca.flows.prune import prune as prune_flow
from tapioca.flows.scale import scale as scale_flow
from tapioca.models.identity import describe_model
from tapioca.models.load import LoadedModel, load_on_meta, load_tokenizer
from tapioca.plan import Plan
from tapioca.progress import SILENT
from tapioca.records import (
    CompareConfig,
    CompareInfo,
    DataConfig,
    DiagnoseConfig,
    DiagnoseInfo,
    EnumerateConfig,
    EnumerateInfo,
    GeometryConfig,
    GeometryInfo,
    PruneConfig,
    RunInfo,
    ScaleConfig,
    ScaleInfo,
)
from tapioca.report.screen import LiveScreen
from tapioca.tasks.base import Task
from tapioca.tasks.limit import Limit
from tapioca.tasks.rows import Rows, rows_in_memory
from tapioca.tasks.shots import with_own_shots

__all__ = ["Exported", "compare", "diagnose", "enumerate", "export", "geometry", "prune", "read_task", "scale"]

Info = TypeVar("Info")
Model = str | Path | PreTrainedModel
"""A folder, a hub id, or a live transformers model."""
Data = str | Path | Task | Rows
"""A file or another source by its name, rows in memory, or a task object."""


def prune(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Any,
) -> RunInfo:
    """Search the layers whose removal helps on a task, and judge the result on held-out data.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task, reference: the OOD and the ID data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        progress: show a progress display.
        options: any field of `PruneConfig`, as on the command line.

    Returns:
        The run: plan, verdict, judgements with intervals, profiles; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run_command(prune_flow, PruneConfig, model, tokenizer, task, reference, progress, options)


def compare(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Any,
) -> CompareInfo:
    """Let several criteria choose plans on the same data, and judge them all on the same held-out data.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task, reference: the OOD and the ID data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        progress: show a progress display.
        options: any field of `CompareConfig`, as on the command line.

    Returns:
        The comparison: every plan chosen with its results and intervals, and what each criterion cost.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run_command(compare_flow, CompareConfig, model, tokenizer, task, reference, progress, options)


def scale(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    plan: str | Path | Plan,
    scales: str | Sequence[float] = "0:2:0.1",
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Any,
) -> ScaleInfo:
    """Scale the layers that a plan drops, as many random layers, and all layers: how score and geometry answer.

    The residual-scaling intervention of TAPIOCA (arXiv 2605.14738): a layer adds alpha times its update, h + alpha (layer(h) - h).

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        plan: whose drops are scaled; at 0 the model is under the plan, at 1 it is as it came.
        scales: 1 among them; as on the command line, or as numbers.
        task: the OOD data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        reference: the ID data, of the same form; without it there are no deviations.
        progress: show a progress display.
        options: any other field of `ScaleConfig`, as on the command line.

    Returns:
        The curves of the chosen layers and of all layers with intervals and trends, and those of random layers.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    options["plan"] = plan.to_json() if isinstance(plan, Plan) else str(plan)
    options["scales"] = scales if isinstance(scales, str) else ",".join(map(str, scales))
    return _run_command(scale_flow, ScaleConfig, model, tokenizer, task, reference, progress, options)


def enumerate(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data | None = None,
    progress: bool = True,
    **options: Any,
) -> EnumerateInfo:
    """Evaluate every plan that drops whole layers of a small model.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task, reference: the OOD and the ID data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object.
        progress: show a progress display.
        options: any field of `EnumerateConfig`, as on the command line.

    Returns:
        All plans with their gains and realignments, and for each number of drops the oracle, greedy's regret, and the
        rank correlation of realignment with gain.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run_command(enumerate_flow, EnumerateConfig, model, tokenizer, task, reference, progress, options)


def geometry(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    plan: Plan | str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> GeometryInfo:
    """Measure the layerwise geometry of a task's prompts against those of a reference, before and after a plan.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task: the OOD data: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object; answers are not used.
        reference: the ID data, of the same form.
        plan: a plan or its file, to measure the geometry under as well.
        progress: show a progress display.
        options: any field of `GeometryConfig`, as on the command line.

    Returns:
        Profiles, deviations with their tests, attribution to layers, the field's measures and what each layer adds to
        the residual stream; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    live_plan = plan if isinstance(plan, Plan) else None
    geometry_options = {**options, "plan": None if live_plan else plan}
    flow = partial(geometry_flow, plan=live_plan)
    return _run_command(flow, GeometryConfig, model, tokenizer, task, reference, progress, geometry_options)


def diagnose(
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: Data,
    reference: Data,
    progress: bool = True,
    **options: Any,
) -> DiagnoseInfo:
    """Say before any search, and without answers, whether inputs are in distribution, distorted or misaligned.

    Args:
        model, tokenizer: a folder or a hub id; or a live transformers model, and its tokenizer.
        task: the inputs in question: a file, lab:SHIFT=STRENGTH, rows in memory, or a task object; answers are not used.
        reference: the ID data, of the same form.
        progress: show a progress display.
        options: any field of `DiagnoseConfig`, as on the command line.

    Returns:
        The verdict in `diagnosis`, the evidence, what to expect of pruning and how well the classifier does; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run_command(diagnose_flow, DiagnoseConfig, model, tokenizer, task, reference, progress, options)


def read_task(
    source: str | Path | Rows, model: Model, tokenizer: PreTrainedTokenizerBase | None = None, **options: Any
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
    return with_own_shots(read_named_task(_name_data(source, "rows"), loaded, options, rows))


def _run_command(
    flow: Callable[..., Info],
    record: type[DataConfig],
    model: Model,
    tokenizer: PreTrainedTokenizerBase | None,
    task: Data,
    reference: Data | None,
    progress: bool,
    options: dict[str, Any],
) -> Info:
    """Make the request of a recipe and run it."""
    if unknown := sorted(options.keys() - record.model_fields.keys()):
        raise UsageError(f"unknown option {unknown[0]}; expected one of {', '.join(record.model_fields)}")
    config = record(
        model=describe_model(model) if isinstance(model, PreTrainedModel) else str(model),
        task=_name_data(task, "rows"),
        reference=None if reference is None else _name_data(reference, "reference rows"),
        **options,
    )
    if config.task == config.reference and isinstance(task, Task) and isinstance(reference, Task):
        raise UsageError(f"task and reference are both named '{config.task}'; give them different names")
    loaded = LoadedModel(model, tokenizer) if isinstance(model, PreTrainedModel) else None
    tasks: dict[str, Task] = {}
    for name, data in {config.task: task, config.reference: reference}.items():
        if isinstance(data, Task):
            tasks[str(name)] = data
        elif name is not None and not isinstance(data, str | Path | None):
            loaded = loaded or load_configured_model(config)
            limit = Limit(config.limit, config.seed) if config.limit else None
            tasks[name] = read_named_task(name, loaded, config.task_options(), rows_in_memory(data), limit=limit)
    if not progress:
        return flow(config, SILENT, loaded, tasks)
    with LiveScreen(Console(stderr=True)) as screen:
        return flow(config, screen, loaded, tasks)


def _name_data(data: Data, otherwise: str) -> str:
    """What data are called; `otherwise` where they are rows in memory."""
    name = data.name if isinstance(data, Task) else data
    return str(name) if isinstance(name, str | Path) else otherwise
