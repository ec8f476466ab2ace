"""The layerwise geometry of ID and OOD data, under the full model and under a plan."""

from __future__ import annotations

from pathlib import Path

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.flows.export import read_plan
from tapioca.flows.folder import folder_of
from tapioca.flows.geometry import samples_of
from tapioca.flows.prepare import gather
from tapioca.flows.scene import Scene
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.edit import check_fits
from tapioca.models.find import find_layers
from tapioca.models.load import Loaded
from tapioca.models.watch import branch_places
from tapioca.records import Plan, ProfileConfig, ProfileInfo
from tapioca.report.profile import write_profile_page
from tapioca.runs.folder import claim
from tapioca.tasks.base import Task


def profile(
    config: ProfileConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
    plan: Plan | None = None,
) -> ProfileInfo:
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
    watcher = watcher or Silent()
    ground = gather(config, watcher, loaded, tasks)
    model = ground.loaded.model
    full = Plan.full(len(find_layers(model)))
    check_fits(model, plan or full)
    if config.branches:
        branch_places(model)
    manifest = {**ground.manifest, "plan": (plan or full).model_dump(mode="json")}
    folder = folder_of(config, manifest)
    manifest = claim(folder, manifest)
    reference, samples = samples_of(ground.search, ground.test, config.seed)
    scene = Scene(model, full, plan, reference, samples, config, watcher)
    info = ProfileInfo(
        folder=folder,
        command=config.model_copy(update={"plan": config.plan or (plan and str(folder / "plan.json"))}).command(),
        model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
        model_hash=manifest["model"],
        task=config.task,
        reference=config.reference,
        notes=ground.notes,
        plan=plan or full,
        n=len(reference),
        views=scene.views(),
        attributions=scene.attributions(),
        deviations=scene.deviations(),
        kept=scene.kept(),
        realigned=scene.realigned(),
    )
    write_profile(info)
    return info


def write_profile(info: ProfileInfo) -> None:
    """Write what was measured into its folder: profile.json (everything), plan.json (if there is one), report.html."""
    write_text(info.folder / "profile.json", info.model_dump_json(indent=2) + "\n")
    if not info.plan.is_full:
        write_text(info.folder / "plan.json", info.plan.to_json() + "\n")
    write_profile_page(info)
