"""The chosen plans on held-out data, with random plans of equal size beside them."""

from __future__ import annotations

from typing import Literal

from tapioca.flows.examples import results_of
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import Job
from tapioca.records import ExampleResult, Judgement, Plan, Verdict
from tapioca.records.results import Data
from tapioca.search.path import SearchPath
from tapioca.search.random import rivals
from tapioca.stats import decide, effect

Role = Literal["best", "most layers dropped", "mildest"]


def judge(job: Job, search: SearchPath) -> tuple[tuple[Judgement, ...], list[ExampleResult]]:
    """Judge the search's plans on the test splits of every data set; the one shown, beside random plans and example by
    example."""
    judgements, results = [], []
    for role, plan in chosen(search):
        for data in job.test:
            judgement, examples = _judge(job, data, role, plan, main=plan == shown(search))
            judgements.append(judgement)
            results += examples
    return tuple(judgements), results


def chosen(search: SearchPath) -> list[tuple[Role, Plan]]:
    """The plans to judge: the best, even if it is the full model; the one with most layers dropped; and where
    the best is the full model, the mildest drop."""
    best, most = search.best.plan, search.most_dropped.plan
    plans: list[tuple[Role, Plan]] = [("best", best)]
    if most != best:
        plans.append(("most layers dropped", most))
    if best.is_full and search.mildest and search.mildest.plan != most:
        plans.append(("mildest", search.mildest.plan))
    return plans


def shown(search: SearchPath) -> Plan:
    """The plan whose geometry is measured: the best, or the mildest drop where the best is the full model."""
    return search.mildest.plan if search.best.plan.is_full and search.mildest else search.best.plan


def conclude(judgements: tuple[Judgement, ...]) -> Verdict:
    """The verdict of a run: from the best plan alone, OOD first."""
    best = {found.data: found for found in judgements if found.role == "best"}
    ood, reference = best["ood"], best.get("id")
    verdict = decide(None if ood.plan.is_full else ood.result, reference.result if reference else None)
    if ood.constant is None or max(ood.result.full, ood.result.planned) > ood.constant:
        return verdict
    metric = ood.result.metric
    useless = f"; either way the model is worse on OOD than always answering the mean ({metric.name} {metric.format(ood.constant)})"
    return verdict.model_copy(update={"reason": verdict.reason + useless})


def _judge(job: Job, data: Data, role: Role, plan: Plan, main: bool) -> tuple[Judgement, list[ExampleResult]]:
    """One plan on one test split; the main one with random plans, with exact match or accuracy where the likelihood
    decides, and with every example's result."""
    task, seed = job.test[data], job.config.seed
    others = rivals(job.space, plan, job.space.repeats) if main else []
    plans = [Plan.full(plan.n_layers), plan, *others]
    found = job.evaluate(
        task, plans, f"{plan} on {data.upper()} test data" + (f", and {len(others)} random plans" if others else "")
    )
    scores, written = found.values, found if task.budget else None
    beside = None
    if main and (asked := task.beside):
        marked = job.evaluate(asked, plans[:2], f"{asked.metric.name} on {data.upper()} test data")
        beside = gain_of(asked, marked, plans[0], plan, seed)
        written = marked if asked.budget else None
    result = gain_of(task, found, plans[0], plan, seed)
    judgement = Judgement(
        data=data,
        role=role,
        plan=plan,
        result=result.of_full_model() if plan.is_full else result,
        constant=task.constant,
        random=tuple(effect(scores[0], row, task.weights, task.metric) for row in scores[2:]),
        beside=beside,
    )
    return judgement, results_of(task, data, found, written) if main else []
