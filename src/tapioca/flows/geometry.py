"""The layerwise geometry of ID and OOD data, under the full model and under a plan."""

from __future__ import annotations

from pathlib import Path

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.flows.export import read_plan
from tapioca.flows.folder import choose_run_folder
from tapioca.flows.prepare import load_inputs
from tapioca.flows.run_geometry import sample_splits
from tapioca.flows.scene import GeometryMeasurement
from tapioca.models.capture import list_branches
from tapioca.models.edit import check_fits
from tapioca.models.find import find_layers
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import NullProgress, Progress
from tapioca.records import GeometryConfig, GeometryInfo
from tapioca.report.geometry import write_geometry_page
from tapioca.runs.folder import claim_folder
from tapioca.tasks.base import Task


def measure_geometry(
    config: GeometryConfig,
    watcher: Progress | None = None,
    loaded: LoadedModel | None = None,
    tasks: dict[str, Task] | None = None,
    plan: Plan | None = None,
) -> GeometryInfo:
    """Measure the geometry of a model on ID and OOD data, before and after a plan.

    Observed are the samples `tapioca prune` observes for the same data and seed, so that no search has seen them: of
    both test splits, and of the ID search split as the reference. Answers are not used.

    Args:
        config: the request.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.
        plan: to use instead of the file `config.plan`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    plan = plan or (read_plan(config.plan) if config.plan else None)
    if plan is not None and plan.is_full:
        raise UsageError(
            f"{config.plan or 'the plan'} changes nothing; give a plan that drops or scales, or leave it out"
        )
    watcher = watcher or NullProgress()
    ground = load_inputs(config, watcher, loaded, tasks)
    model = ground.loaded.model
    full = Plan.full(len(find_layers(model)))
    check_fits(model, plan or full)
    if config.branches:
        list_branches(model)
    manifest = {**ground.manifest, "plan": (plan or full).model_dump(mode="json")}
    folder = choose_run_folder(config, manifest)
    manifest = claim_folder(folder, manifest)
    reference, samples = sample_splits(ground.search, ground.test, config.seed)
    scene = GeometryMeasurement(model, full, plan, reference, samples, config, watcher)
    info = GeometryInfo(
        folder=folder,
        command=config.model_copy(update={"plan": config.plan or (plan and str(folder / "plan.json"))}).command(),
        model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
        model_hash=manifest["model"],
        task=config.task,
        reference=config.reference,
        notes=ground.notes,
        plan=plan or full,
        n=len(reference),
        views=scene.measure_views(),
        attributions=scene.measure_attributions(),
        deviations=scene.test_all_layers(),
        kept=scene.test_kept_layers(),
        realigned=scene.measure_realigned(),
    )
    write_profile(info)
    return info


def write_profile(info: GeometryInfo) -> None:
    """Write what was measured into its folder: geometry.json (everything), plan.json (if there is one), report.html."""
    write_text(info.folder / "geometry.json", info.model_dump_json(indent=2) + "\n")
    if not info.plan.is_full:
        write_text(info.folder / "plan.json", info.plan.to_json() + "\n")
    write_geometry_page(info)
