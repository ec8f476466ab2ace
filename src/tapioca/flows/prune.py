"""The main job: from a model and a file of examples to a plan, a verdict and a report."""

from __future__ import annotations

from tapioca.disk import write_json, write_text
from tapioca.flows.check import refuse_at_chance, run_preflight
from tapioca.flows.criteria import equivalent_criteria
from tapioca.flows.examples import select_most_changed, write_examples
from tapioca.flows.fluency import check_fluency
from tapioca.flows.judge import decide_run_verdict, evaluate_held_out, plan_to_show
from tapioca.flows.prepare import RunContext, Tasks, open_run
from tapioca.flows.run_geometry import measure_run_geometry
from tapioca.flows.search import criterion_from_config, restrict_sizes, run_search
from tapioca.models.cost import count_flops, count_parameters
from tapioca.models.inputs import collate
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.records import Cost, PruneConfig, RunInfo
from tapioca.report.page import write_run_page
from tapioca.search.path import SearchPath


def prune(
    config: PruneConfig, watcher: Progress = SILENT, loaded: LoadedModel | None = None, tasks: Tasks | None = None
) -> RunInfo:
    """Search a plan on the search split and judge it on the test split.

    Called again with the same config it goes on where it was.

    Args:
        config: the request; `dry_run` is ignored, see `flows.preview`.
        watcher, loaded, tasks: as of `flows.prepare.load_inputs`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    criterion = criterion_from_config(config)  # refused before anything is loaded
    job = open_run(config, watcher, loaded, tasks)
    with job.store:
        space, notes = restrict_sizes(job, config), equivalent_criteria(job, {config.criterion: criterion})
        for note in notes:
            job.watcher.note(note)
        checks = run_preflight(job)
        refuse_at_chance(job, checks)
        search = run_search(job, config, space)
        judgements, results = evaluate_held_out(job, search)
        profiles, deviations = measure_run_geometry(job, plan_to_show(search))
        info = RunInfo(
            **job.header(*notes),
            revision=config.revision,
            adapter=str(config.adapter.resolve()) if config.adapter else None,
            trust_remote_code=config.trust_remote_code,
            dtype=config.dtype,
            metric=job.metric,
            criterion=config.criterion,
            chosen_by=str(criterion),
            plan=search.best.plan,
            shown=plan_to_show(search),
            most_dropped=search.most_dropped.plan,
            rounds=tuple(search.rounds),
            epsilon=search.epsilon,
            checks=checks,
            judgements=judgements,
            profiles=profiles,
            deviations=deviations,
            verdict=decide_run_verdict(judgements),
            cost=_summarize_cost(job, search),
            canary=check_fluency(job, plan_to_show(search)),
            changed=select_most_changed(results),
        )
        write_examples(info.folder, results)
        write_run(info)
    return info


def write_run(info: RunInfo) -> None:
    """Write what a run found into its folder: run.json (everything), result.json (for scripts), plan.json, report.html."""
    write_text(info.folder / "run.json", info.model_dump_json(indent=2) + "\n")
    write_json(info.folder / "result.json", info.summary())
    write_text(info.folder / "plan.json", info.plan.to_json() + "\n")
    write_run_page(info)


def _summarize_cost(job: RunContext, search: SearchPath) -> Cost:
    """What the run cost and what its best plan saves, counted on one batch."""
    model, plan, full = job.loaded.model, search.best.plan, Plan.full(job.n_layers)
    batch = collate(model, [example.prompt for example in job.search["ood"].examples[: job.config.batch_size]])
    _, evaluations, seconds = job.store.totals()
    return Cost(
        plans_tried=search.tried,
        search_examples=len(job.search["ood"].examples),
        evaluations=evaluations,
        seconds=seconds,
        parameters_full=count_parameters(model, full),
        parameters_planned=count_parameters(model, plan),
        flops_full=count_flops(model, full, batch),
        flops_planned=count_flops(model, plan, batch),
        difference=job.store.largest_difference(),
    )
