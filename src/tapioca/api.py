"""The public face in Python: what the commands do, for models and tasks that are already in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tapioca.errors import UsageError
from tapioca.evaluate import check_task
from tapioca.flows.compare import compare as compare_flow
from tapioca.flows.data import read_task
from tapioca.flows.export import Exported, export
from tapioca.flows.geometry import profile_of
from tapioca.flows.prune import prune as prune_flow
from tapioca.flows.scale import scale as scale_flow
from tapioca.flows.watcher import Silent
from tapioca.geometry.profiles import shape
from tapioca.models.find import find_layers
from tapioca.models.identity import name_of
from tapioca.models.load import Loaded
from tapioca.observe import SAMPLE, sample, states
from tapioca.records import (
    CompareConfig,
    CompareInfo,
    Plan,
    Profile,
    PruneConfig,
    RunConfig,
    RunInfo,
    ScaleConfig,
    ScaleInfo,
)
from tapioca.report.screen import LiveScreen
from tapioca.tasks.base import Task

__all__ = ["Exported", "compare", "export", "profile", "prune", "scale"]

Info = TypeVar("Info")


def prune(
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: str | Path | Task,
    reference: str | Path | Task | None = None,
    progress: bool = True,
    **options: Any,
) -> RunInfo:
    """Search the layers whose removal helps on a task, and judge the result on held-out data.

    Args:
        model: a folder, a hub id, or a live transformers model.
        tokenizer: of a live model.
        task: the OOD data: a file, lab:SHIFT=STRENGTH, or a task object.
        reference: the ID data, of the same form.
        progress: show a progress display.
        options: any field of `PruneConfig`, as on the command line.

    Returns:
        The run: plan, verdict, judgements with intervals, profiles; stored in its `folder`.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run(prune_flow, PruneConfig, model, tokenizer, task, reference, progress, options)


def compare(
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: str | Path | Task,
    reference: str | Path | Task | None = None,
    progress: bool = True,
    **options: Any,
) -> CompareInfo:
    """Let several criteria choose plans on the same data, and judge them all on the same held-out data.

    Args:
        model: a folder, a hub id, or a live transformers model.
        tokenizer: of a live model.
        task: the OOD data: a file, lab:SHIFT=STRENGTH, or a task object.
        reference: the ID data, of the same form.
        progress: show a progress display.
        options: any field of `CompareConfig`, as on the command line.

    Returns:
        The comparison: every plan chosen with its results and intervals, and what each criterion cost.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    return _run(compare_flow, CompareConfig, model, tokenizer, task, reference, progress, options)


def scale(
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    plan: str | Path | Plan,
    alphas: str | Sequence[float] = "0:2:0.1",
    task: str | Path | Task,
    reference: str | Path | Task | None = None,
    progress: bool = True,
    **options: Any,
) -> ScaleInfo:
    """Scale the layers that a plan drops, as many random layers, and all layers: how score and geometry answer.

    The residual-scaling intervention of TAPIOCA (arXiv 2605.14738): a layer adds alpha times its update, h + alpha (layer(h) - h).

    Args:
        model: a folder, a hub id, or a live transformers model.
        tokenizer: of a live model.
        plan: whose drops are scaled; at 0 the model is under the plan, at 1 it is as it came.
        alphas: the scales, 1 among them; as on the command line, or as numbers.
        task: the OOD data: a file, lab:SHIFT=STRENGTH, or a task object.
        reference: the ID data, of the same form; without it there are no deviations.
        progress: show a progress display.
        options: any other field of `ScaleConfig`, as on the command line.

    Returns:
        The curves of the chosen layers and of all layers with intervals and trends, and those of random layers.

    Raises:
        TapiocaError: one line about what is wrong.
    """
    options["plan"] = plan.to_json() if isinstance(plan, Plan) else str(plan)
    options["alphas"] = alphas if isinstance(alphas, str) else ",".join(map(str, alphas))
    return _run(scale_flow, ScaleConfig, model, tokenizer, task, reference, progress, options)


def profile(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    task: str | Path | Task,
    plan: Plan | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> Profile:
    """Norm and pairwise-distance profile of a task's prompts over the layers of a model.

    Args:
        model: a live transformers model.
        tokenizer: its tokenizer, where the task is text.
        task: a file, a lab data set, or a task object; at most 512 examples are used.
        plan: measure under this plan; its `layers` are the kept ones.
        batch_size: prompts run at once.
        seed: of the sample and the bands.
    """
    loaded = Loaded(model, tokenizer)
    source = task if isinstance(task, Task) else read_task(str(task), loaded, {})
    check_task(model, source)
    chosen = plan or Plan.full(len(find_layers(model)))
    examples = sample(source.examples, SAMPLE, seed)
    return profile_of(shape(states(model, chosen, examples, batch_size)), "ood", chosen, seed)


def _name(task: str | Path | Task) -> str:
    return task.name if isinstance(task, Task) else str(task)


def _run(
    flow: Callable[..., Info],
    record: type[RunConfig],
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    task: str | Path | Task,
    reference: str | Path | Task | None,
    progress: bool,
    options: dict[str, Any],
) -> Info:
    """Make the request of a recipe and run it."""
    loaded = Loaded(model, tokenizer) if isinstance(model, PreTrainedModel) else None
    live_tasks = [source for source in (task, reference) if isinstance(source, Task)]
    tasks = {source.name: source for source in live_tasks}
    if len(tasks) < len(live_tasks):
        raise UsageError(f"task and reference are both named '{live_tasks[0].name}'; give them different names")
    unknown = options.keys() - record.model_fields.keys()
    if unknown:
        raise UsageError(f"unknown option {sorted(unknown)[0]}; expected one of {', '.join(record.model_fields)}")
    config = record(
        model=name_of(model) if isinstance(model, PreTrainedModel) else str(model),
        task=_name(task),
        reference=None if reference is None else _name(reference),
        **options,
    )
    if not progress:
        return flow(config, Silent(), loaded, tasks)
    with LiveScreen(Console(stderr=True)) as screen:
        return flow(config, screen, loaded, tasks)
