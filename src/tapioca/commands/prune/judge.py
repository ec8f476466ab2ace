"""The chosen plans on held-out data, with random plans of equal size beside them."""

from typing import Literal

from tapioca.commands.prune.examples import collect_example_results
from tapioca.plan import Plan
from tapioca.records import ExampleResult, HeldOutResult, Verdict
from tapioca.records.results import Domain
from tapioca.search.path import SearchPath
from tapioca.search.random import draw_matched_random_plans
from tapioca.session.context import AnyRun
from tapioca.session.held_out import gain_of
from tapioca.stats import decide_verdict

Role = Literal["best", "most layers dropped", "best non-empty"]


def evaluate_held_out(job: AnyRun, search: SearchPath) -> tuple[tuple[HeldOutResult, ...], list[ExampleResult]]:
    """Judge the search's plans on the test splits of every data set; the one shown, beside random plans and example by
    example."""
    judgements, results = [], []
    for role, plan in plans_to_judge(search):
        for domain in job.test:
            judgement, examples = _judge_plan(job, domain, role, plan, main=plan == plan_to_show(search))
            judgements.append(judgement)
            results += examples
    return tuple(judgements), results


def plans_to_judge(search: SearchPath) -> list[tuple[Role, Plan]]:
    """The plans to judge: the best, even if it is the full model; the one with most layers dropped; and where
    the best is the full model, the mildest drop."""
    best, most = search.best.plan, search.most_dropped.plan
    plans: list[tuple[Role, Plan]] = [("best", best)]
    if most != best:
        plans.append(("most layers dropped", most))
    if best.is_full and search.best_nonempty and search.best_nonempty.plan != most:
        plans.append(("best non-empty", search.best_nonempty.plan))
    return plans


def plan_to_show(search: SearchPath) -> Plan:
    """The plan whose geometry is measured: the best, or the mildest drop where the best is the full model."""
    return search.best_nonempty.plan if search.best.plan.is_full and search.best_nonempty else search.best.plan


def decide_run_verdict(judgements: tuple[HeldOutResult, ...]) -> Verdict:
    """The verdict of a run: from the best plan alone, OOD first."""
    best_by_data = {judgement.data: judgement for judgement in judgements if judgement.role == "best"}
    ood, reference = best_by_data["ood"], best_by_data.get("id")
    verdict = decide_verdict(None if ood.plan.is_full else ood.result, reference.result if reference else None)
    if ood.baseline_score is None or max(ood.result.full, ood.result.planned) > ood.baseline_score:
        return verdict
    metric = ood.result.metric
    useless = f"; either way the model is worse on OOD than always answering the mean ({metric.name} {metric.format(ood.baseline_score)})"
    return verdict.model_copy(update={"reason": verdict.reason + useless})


def _judge_plan(
    job: AnyRun, domain: Domain, role: Role, plan: Plan, main: bool
) -> tuple[HeldOutResult, list[ExampleResult]]:
    """One plan on one test split; the main one with random plans, with exact match or accuracy where the likelihood
    decides, and with every example's result."""
    task, seed = job.test[domain], job.config.seed
    random_plans = draw_matched_random_plans(job.space, plan, job.space.repeats) if main else []
    plans = [Plan.full(plan.n_layers), plan, *random_plans]
    beside = f", and {len(random_plans)} random plans" if random_plans else ""
    plan_scores = job.evaluate(task, plans, f"{plan} on {domain.upper()} test data{beside}")
    scores, written = plan_scores.values, plan_scores if task.max_new_tokens else None
    companion_gain = None
    if main and (companion := task.companion):
        companion_scores = job.evaluate(companion, plans[:2], f"{companion.metric.name} on {domain.upper()} test data")
        companion_gain = gain_of(companion, companion_scores, plans[0], plan, seed)
        written = companion_scores if companion.max_new_tokens else None
    result, pairing = gain_of(task, plan_scores, plans[0], plan, seed), task.pairing(seed)
    judgement = HeldOutResult(
        data=domain,
        role=role,
        plan=plan,
        result=result.of_full_model() if plan.is_full else result,
        baseline_score=task.baseline_score,
        random=tuple(pairing.effect(scores[0], row) for row in scores[2:]),
        companion=companion_gain,
    )
    return judgement, collect_example_results(task, domain, plan_scores, written) if main else []
