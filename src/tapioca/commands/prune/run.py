"""The main job: from a model and a file of examples to a plan, a verdict and a report."""

from tapioca.commands import save_result
from tapioca.commands.prune.choice import Choice, compensate_best
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.examples import select_most_changed, write_examples
from tapioca.commands.prune.fluency import check_fluency
from tapioca.commands.prune.judge import HeldOutJudge, decide_run_verdict
from tapioca.commands.prune.result import Cost, PruneResult
from tapioca.commands.prune.search import criterion_from_config, restrict_sizes, run_search
from tapioca.commands.prune.targets import check_targets, try_targets
from tapioca.commands.prune.unlabelled import describe_blind_search
from tapioca.disk import write_json
from tapioca.models.cost import count_flops, count_parameters
from tapioca.models.inputs import collate
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.records.portable import portable_name
from tapioca.report.format import describe_shortage
from tapioca.runs.places import remember_places
from tapioca.runs.rows import write_run_rows
from tapioca.session.context import AnyRun, RunInputs, open_run
from tapioca.session.geometry import measure_run_geometry
from tapioca.session.preflight import run_preflight
from tapioca.session.rows import name_rows
from tapioca.session.run_criteria import equivalent_criteria


def prune(config: PruneConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> PruneResult:
    """Search a plan on the search split and judge it on the test split."""
    criterion = criterion_from_config(config)  # refused before anything is loaded
    with open_run(config, progress, inputs) as job:
        job.space = restrict_sizes(job)
        check_targets(job, criterion)
        job.add_notes(*equivalent_criteria(job, {config.criterion: criterion}))
        checks = run_preflight(job, stop_at_chance=criterion.reads_labels)
        if shortage := describe_shortage(checks["id"], job.metric) if "id" in checks else "":
            job.progress.note(f"ID: {checks['id'].n_test} test examples are {shortage}")
        search = run_search(job)
        choice = compensate_best(job, Choice(search, try_targets(job, search)))
        judge = HeldOutJudge.evaluate(job, choice)
        judgements, results = judge.judge_plans(), judge.list_results()
        profiles, deviations = measure_run_geometry(job, choice.shown)
        info = PruneResult(
            **job.header(),
            revision=config.revision,
            adapter=portable_name(str(config.adapter)) if config.adapter else None,
            trust_remote_code=config.trust_remote_code,
            dtype=config.dtype,
            metric=job.metric,
            criterion=config.criterion,
            chosen_by=str(criterion),
            plan=choice.best,
            shown=choice.shown,
            most_dropped=search.most_dropped.plan,
            rounds=tuple(search.rounds),
            epsilon=search.epsilon,
            without_labels=describe_blind_search(criterion, search),
            targets=choice.targets,
            checks=checks,
            judgements=judgements,
            compensation=judge.compare_with_uncompensated(),
            profiles=profiles,
            deviations=deviations,
            verdict=decide_run_verdict(judgements, choice.targets),
            cost=_summarize_cost(job, choice),
            canary=check_fluency(job, choice.shown),
            changed=select_most_changed(results),
        )
        remember_places(info.model_hash, model=config.model, adapter=config.adapter)
        remember_places(job.data_manifest["data"]["ood"], data=config.task)
        if config.reference:
            remember_places(job.data_manifest["data"]["id"], data=config.reference)
        write_examples(info.folder, results)
        write_run_rows(info.folder, name_rows(job))
        write_json(info.folder / "result.json", info.summary())
        info.plan.write(info.folder / "plan.json")
        save_result("prune", info)
    return info


def _summarize_cost(job: AnyRun, choice: Choice) -> Cost:
    """What the run cost and what its best plan saves, counted on one batch."""
    model, plan, full = job.loaded.model, choice.best, Plan.full(job.n_layers)
    batch = collate(model, [example.prompt for example in job.search["ood"].examples[: job.config.batch_size]])
    _, evaluations, seconds = job.store.totals()
    return Cost(
        plans_tried=choice.search.tried,
        search_examples=len(job.search["ood"].examples),
        evaluations=evaluations,
        seconds=seconds,
        parameters_full=count_parameters(model, full),
        parameters_planned=count_parameters(model, plan),
        flops_full=count_flops(model, full, batch),
        flops_planned=count_flops(model, plan, batch),
        difference=job.store.largest_difference(),
    )
