"""The main job: from a model and a file of examples to a plan, a verdict and a report."""

from __future__ import annotations

from pathlib import Path

from tapioca.disk import write_json, write_text
from tapioca.flows.canary import sing
from tapioca.flows.check import check, refuse_at_chance
from tapioca.flows.criteria import stand_ins
from tapioca.flows.examples import most_changed, write_examples
from tapioca.flows.geometry import observe_run
from tapioca.flows.judge import conclude, judge, shown
from tapioca.flows.prepare import Job, prepare
from tapioca.flows.search import criterion_of, run_search, sized
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.cost import flops, parameters
from tapioca.models.inputs import collate
from tapioca.models.load import Loaded
from tapioca.records import Cost, Plan, PruneConfig, RunInfo
from tapioca.report.page import write_page
from tapioca.search.path import SearchPath
from tapioca.tasks.base import Task


def prune(
    config: PruneConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> RunInfo:
    """Search a plan on the search split and judge it on the test split.

    Called again with the same config it goes on where it was.

    Args:
        config: the request; `dry_run` is ignored, see `flows.preview`.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    criterion = criterion_of(config)  # refused before anything is loaded
    job = prepare(config, watcher or Silent(), loaded, tasks)
    with job.store:
        space, notes = sized(job, config), stand_ins(job, [config.criterion])
        for note in notes:
            job.watcher.say(note)
        checks = check(job)
        refuse_at_chance(job, checks)
        search = run_search(job, config, space)
        judgements, results = judge(job, search)
        profiles, deviations = observe_run(job, shown(search))
        info = RunInfo(
            folder=job.store.folder,
            command=config.command(),
            model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
            model_hash=job.store.manifest["model"],
            revision=config.revision,
            adapter=str(config.adapter.resolve()) if config.adapter else None,
            trust_remote_code=config.trust_remote_code,
            dtype=config.dtype,
            task=config.task,
            reference=config.reference,
            metric=job.metric,
            notes=(*job.notes, *notes),
            criterion=config.criterion,
            chosen_by=str(criterion),
            plan=search.best.plan,
            shown=shown(search),
            most_dropped=search.most_dropped.plan,
            rounds=tuple(search.rounds),
            epsilon=search.epsilon,
            checks=checks,
            judgements=judgements,
            profiles=profiles,
            deviations=deviations,
            verdict=conclude(judgements),
            cost=_cost(job, search),
            canary=sing(job, shown(search)),
            changed=most_changed(results),
        )
        write_examples(info.folder, results)
        write_run(info)
    return info


def write_run(info: RunInfo) -> None:
    """Write what a run found into its folder: run.json (everything), result.json (for scripts), plan.json, report.html."""
    write_text(info.folder / "run.json", info.model_dump_json(indent=2) + "\n")
    write_json(info.folder / "result.json", info.summary())
    write_text(info.folder / "plan.json", info.plan.to_json() + "\n")
    write_page(info)


def _cost(job: Job, search: SearchPath) -> Cost:
    """What the run cost and what its best plan saves, counted on one batch."""
    model, plan, full = job.loaded.model, search.best.plan, Plan.full(job.n_layers)
    batch = collate(model, [example.prompt for example in job.search["ood"].examples[: job.config.batch_size]])
    _, evaluations, seconds = job.store.totals()
    return Cost(
        plans_tried=search.tried,
        search_examples=len(job.search["ood"].examples),
        evaluations=evaluations,
        seconds=seconds,
        parameters_full=parameters(model, full),
        parameters_planned=parameters(model, plan),
        flops_full=flops(model, full, batch),
        flops_planned=flops(model, plan, batch),
        difference=job.store.difference(),
    )
