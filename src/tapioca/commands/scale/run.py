"""Residual scaling: the dose-response of score and geometry over the scale of a plan's layers (TAPIOCA, arXiv 2605.14738)."""

from pathlib import Path

from tapioca.commands import save_result
from tapioca.commands.scale.config import ScaleConfig
from tapioca.commands.scale.result import ScaleResult
from tapioca.commands.scale.sweep import DoseSweep
from tapioca.errors import ModelError, UsageError
from tapioca.models.edit import check_fits
from tapioca.plan import GRAINS, Plan
from tapioca.progress import SILENT, Progress
from tapioca.reading import explain_damage
from tapioca.runs.folder import read_manifest
from tapioca.search.base import SearchSpace
from tapioca.search.random import draw_matched_random_plans
from tapioca.session.context import RunContext, RunInputs, open_run


def scale(config: ScaleConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> ScaleResult:
    """Scale the layers a plan drops, as many random layers, and all layers, and judge every scale on the test splits."""
    alphas, plan = config.points, _read_drop_plan(config.plan)
    with open_run(config, progress, inputs) as job:
        with explain_damage(config.plan, ModelError):
            check_fits(job.loaded.model, plan)
        random_sets = draw_matched_random_plans(job.space, plan, config.random_sets)
        job.add_notes(*_scale_notes(job, len(random_sets)))
        drop_all = _plan_dropping_all(plan, job.space)
        sweep = DoseSweep.evaluate(job, alphas, [plan, drop_all], random_sets)
        random_responses = {drops: sweep.measure_response(drops) for drops in random_sets}
        info = ScaleResult(
            **job.header(),
            metric=job.metric,
            scales=alphas,
            examples={domain: len(task.examples) for domain, task in job.test.items()},
            observed=sweep.deviations.size if sweep.deviations else 0,
            null=sweep.deviations.null_percentiles(plan.kept) if sweep.deviations else {},
            chosen=sweep.measure_curve(plan, list(random_responses.values())),
            every=sweep.measure_curve(drop_all, []),
            random_sets=tuple(response.summarize(drops) for drops, response in random_responses.items()),
        )
        save_result("scale", info)
    return info


def _read_drop_plan(text: str) -> Plan:
    """The plan whose drops are scaled.

    Raises:
        UsageError: it cannot be read, drops nothing, or scales something by itself.
    """
    plan = Plan.read(text)
    if not plan.size:
        raise UsageError(
            f"--plan {text:.80}: it drops nothing ({plan}), so there is nothing to scale; give a plan of drops"
        )
    if not plan.dose(1.0).is_full:
        raise UsageError(
            f"--plan {text:.80}: it scales layers itself ({plan}), and at 1 the model must be as it came; give drops alone"
        )
    return plan


def _plan_dropping_all(plan: Plan, space: SearchSpace) -> Plan:
    """The plan that drops all layers, or all branches of the kinds that a plan drops."""
    pools = {grain: range(space.n_layers) if grain == "layers" else space.pool(grain) for grain in GRAINS}
    scales = {grain: dict.fromkeys(pools[grain], 0.0) for grain, size in plan.sizes.items() if size}
    return Plan(n_layers=space.n_layers, **scales)


def _scale_notes(job: RunContext[ScaleConfig], n_random_sets: int) -> list[str]:
    """What is to be said of the plan and of the random sets.

    Raises:
        UsageError: the search for the plan has seen the examples it would be judged on.
    """
    config, notes = job.config, []
    if n_random_sets < config.random_sets:
        notes.append(f"only {n_random_sets} other sets of this size can be dropped; all of them are scaled")
    folder, manifest = Path(config.plan).parent, job.store.manifest
    if config.plan.lstrip().startswith("{") or not (folder / "manifest.json").is_file():
        return [*notes, "the plan comes from no run folder: whether its search saw the test examples is not known"]
    search_manifest = read_manifest(folder)
    if search_manifest.get("data") != manifest["data"]:
        return [*notes, "the plan was searched on other data: whether its search saw the test examples is not known"]
    names = ("seed", "search_share")
    made, now = ({name: (run.get("settings") or {}).get(name) for name in names} for run in (search_manifest, manifest))
    if made != now:
        flags = f"--seed {made['seed']} --search-share {made['search_share']}"
        raise UsageError(
            f"{folder} split these data with {flags}; use the same, or the plan is judged on what its search saw"
        )
    return notes
