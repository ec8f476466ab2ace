"""The chosen plans on held-out data, with random plans of equal size beside them."""

from dataclasses import dataclass
from typing import Literal, Self

from tapioca.commands.prune.examples import collect_example_results
from tapioca.plan import Plan
from tapioca.records import ExampleResult, HeldOutResult, Scores, Verdict
from tapioca.records.results import Domain
from tapioca.search.path import SearchPath
from tapioca.search.random import draw_matched_random_plans
from tapioca.session.context import AnyRun
from tapioca.session.held_out import GainsBeside, HeldOutScores, gain_of
from tapioca.stats import decide_verdict
from tapioca.tasks.base import Task

Role = Literal["best", "most layers dropped", "best non-empty"]

VERDICTS_OF_REPEATS = {
    "prune": "repeat layers",
    "prune OOD traffic only": "repeat layers for OOD traffic only",
    "keep the full model": "keep the full model",
}
"""What verdicts on plans are called where the plan drops nothing and repeats layers."""


def evaluate_held_out(job: AnyRun, search: SearchPath) -> tuple[tuple[HeldOutResult, ...], list[ExampleResult]]:
    """Judge the search's plans on the test splits of every data set; the one shown, beside random plans and example by
    example."""
    judge = HeldOutJudge.evaluate(job, search)
    judgements = (judge.judge_plan(domain, role, plan) for role, plan in plans_to_judge(search) for domain in job.test)
    return tuple(judgements), [result for domain in job.test for result in judge.list_examples(domain)]


@dataclass(frozen=True, eq=False)
class HeldOutJudge:
    """Scores on the test splits, and what is made of them.

    Attributes:
        shown: the plan that random ones stand beside.
        random_plans: as large ones.
        beside: what they gain on OOD data, and what the plans judged gain on the same examples; None without random plans.
        scores: of the full model and every plan judged.
        companions: exact match or accuracy of the full model and the plan shown, where the likelihood decides.
    """

    job: AnyRun
    shown: Plan
    random_plans: list[Plan]
    beside: GainsBeside | None
    scores: HeldOutScores
    companions: dict[Domain, tuple[Task, Scores]]

    @classmethod
    def evaluate(cls, job: AnyRun, search: SearchPath) -> Self:
        """Score all plans: with the random ones on their examples first, then on what is left."""
        shown, plans = plan_to_show(search), [plan for _, plan in plans_to_judge(search)]
        random_plans = draw_matched_random_plans(job.space, shown, job.space.repeats)
        beside = GainsBeside.evaluate(job, plans, random_plans) if random_plans else None
        scores, companions = HeldOutScores.evaluate(job, dict.fromkeys(job.test, plans)), {}
        for domain, task in job.test.items():
            if companion := task.companion:
                what = f"{companion.metric.name} on {domain.upper()} test data"
                companions[domain] = companion, job.evaluate(companion, [Plan.full(job.n_layers), shown], what)
        return cls(job, shown, random_plans, beside, scores, companions)

    def judge_plan(self, domain: Domain, role: Role, plan: Plan) -> HeldOutResult:
        """One plan on one test split; the one shown with random plans, and with exact match or accuracy where the
        likelihood decides."""
        full, beside = Plan.full(plan.n_layers), self.beside if domain == "ood" and plan == self.shown else None
        result, companion = self.scores.measure_gain(domain, full, plan), None
        if plan == self.shown and domain in self.companions:
            companion = gain_of(*self.companions[domain], full, plan, self.job.config.seed)
        return HeldOutResult(
            data=domain,
            role=role,
            plan=plan,
            result=result.of_full_model() if plan.is_full else result,
            baseline_score=self.job.test[domain].baseline_score,
            random=beside.list_gains(self.random_plans) if beside else (),
            random_n=beside.n if beside else None,
            gain_beside=beside.gain_by_plan[plan] if beside else None,
            companion=companion,
        )

    def list_examples(self, domain: Domain) -> list[ExampleResult]:
        """Every example of a test split under the full model and the plan shown."""
        task, pair = self.job.test[domain], (Plan.full(self.job.n_layers), self.shown)
        scores, written = self.scores.by_domain[domain].select_plans(*pair), None
        if task.max_new_tokens:
            written = scores
        elif domain in self.companions and self.companions[domain][0].max_new_tokens:
            written = self.companions[domain][1]
        return collect_example_results(task, domain, scores, written)


def plans_to_judge(search: SearchPath) -> list[tuple[Role, Plan]]:
    """The plans to judge: the best, even if it is the full model; the one with most layers dropped, if any are; and where
    the best is the full model, the mildest drop."""
    best, most = search.best.plan, search.most_dropped.plan
    plans: list[tuple[Role, Plan]] = [("best", best)]
    if most != best and most.size:
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
    if ood.plan.repeats:
        verdict = verdict.model_copy(update={"action": VERDICTS_OF_REPEATS[verdict.action]})
    if ood.baseline_score is None or max(ood.result.full, ood.result.planned) > ood.baseline_score:
        return verdict
    metric = ood.result.metric
    useless = f"; either way the model is worse on OOD than always answering the mean ({metric.name} {metric.format(ood.baseline_score)})"
    return verdict.model_copy(update={"reason": verdict.reason + useless})
