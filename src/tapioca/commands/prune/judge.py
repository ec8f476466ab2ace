"""The chosen plans on held-out data, with random plans of equal size beside them."""

from dataclasses import dataclass
from typing import Self

from tapioca.commands.prune.choice import Choice, Role
from tapioca.commands.prune.examples import collect_example_results
from tapioca.commands.prune.result import Targets
from tapioca.plan import Plan
from tapioca.records import ExampleResult, Gain, HeldOutResult, Scores, Verdict
from tapioca.records.results import Domain
from tapioca.search.random import draw_matched_random_plans
from tapioca.session.context import AnyRun
from tapioca.session.held_out import GainsBeside, HeldOutScores, gain_of
from tapioca.stats import decide_verdict
from tapioca.tasks.base import Task

VERDICTS_OF_REPEATS = {
    "prune": "repeat layers",
    "prune OOD traffic only": "repeat layers for OOD traffic only",
    "keep the full model": "keep the full model",
}
"""What verdicts on plans are called where the plan drops nothing and repeats layers."""


@dataclass(frozen=True, eq=False)
class HeldOutJudge:
    """Scores on the test splits, and what is made of them.

    Attributes:
        choice: what was chosen; random plans stand beside the one shown.
        random_plans: as large ones.
        beside: what they gain on OOD data, and what the plans judged gain on the same examples; None without random plans.
        scores: of the full model and every plan judged.
        companions: exact match or accuracy of the full model and the plan shown, where the likelihood decides.
    """

    job: AnyRun
    choice: Choice
    random_plans: list[Plan]
    beside: GainsBeside | None
    scores: HeldOutScores
    companions: dict[Domain, tuple[Task, Scores]]

    @classmethod
    def evaluate(cls, job: AnyRun, choice: Choice) -> Self:
        """Score all plans: with the random ones on their examples first, then on what is left."""
        shown, plans = choice.shown, [plan for _, plan in choice.list_judged()]
        random_plans = draw_matched_random_plans(job.space, shown, job.space.repeats)
        beside = GainsBeside.evaluate(job, plans, random_plans) if random_plans else None
        scores, companions = HeldOutScores.evaluate(job, dict.fromkeys(job.test, plans)), {}
        for domain, task in job.test.items():
            if companion := task.companion:
                what = f"{companion.metric.name} on {domain.upper()} test data"
                companions[domain] = companion, job.evaluate(companion, [Plan.full(job.n_layers), shown], what)
        return cls(job, choice, random_plans, beside, scores, companions)

    def judge_plans(self) -> tuple[HeldOutResult, ...]:
        """Every plan on every test split."""
        judged = self.choice.list_judged()
        return tuple(self._judge_plan(domain, role, plan) for role, plan in judged for domain in self.job.test)

    def compare_with_uncompensated(self) -> dict[Domain, Gain]:
        """What compensation changed on each test split; nothing where there is none."""
        without, compensated = self.choice.found, self.choice.compensated
        if not compensated:
            return {}
        return {domain: self.scores.measure_gain(domain, without, compensated) for domain in self.job.test}

    def list_results(self) -> list[ExampleResult]:
        """Every example of every test split under the full model and the plan shown."""
        return [result for domain in self.job.test for result in self._list_examples(domain)]

    def _judge_plan(self, domain: Domain, role: Role, plan: Plan) -> HeldOutResult:
        """One plan on one test split; the one shown with random plans, and with exact match or accuracy where the
        likelihood decides."""
        full, beside = Plan.full(plan.n_layers), self.beside if domain == "ood" and plan == self.choice.shown else None
        result, companion = self.scores.measure_gain(domain, full, plan), None
        if plan == self.choice.shown and domain in self.companions:
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

    def _list_examples(self, domain: Domain) -> list[ExampleResult]:
        """Every example of a test split under the full model and the plan shown."""
        task, pair = self.job.test[domain], (Plan.full(self.job.n_layers), self.choice.shown)
        scores, written = self.scores.by_domain[domain].select_plans(*pair), None
        if task.max_new_tokens:
            written = scores
        elif domain in self.companions and self.companions[domain][0].max_new_tokens:
            written = self.companions[domain][1]
        return collect_example_results(task, domain, scores, written)


def decide_run_verdict(judgements: tuple[HeldOutResult, ...], targets: Targets | None = None) -> Verdict:
    """The verdict of a run: from the best plan alone, OOD first.

    Args:
        judgements: of the plans judged.
        targets: what the best plan was to meet.
    """
    best_by_data = {judgement.data: judgement for judgement in judgements if judgement.role == "best"}
    ood, reference = best_by_data["ood"], best_by_data.get("id")
    verdict = decide_verdict(None if ood.plan.is_full else ood.result, reference.result if reference else None)
    if targets and not any(row.plan.size for row in targets.met):
        verdict = verdict.model_copy(update={"reason": "no drop of the search meets the targets"})
    if ood.plan.repeats:
        verdict = verdict.model_copy(update={"action": VERDICTS_OF_REPEATS[verdict.action]})
    return mention_baseline(verdict, ood.result, ood.baseline_score)


def mention_baseline(
    verdict: Verdict, ood: Gain, baseline_score: float | None, subject: str = "either way the model is"
) -> Verdict:
    """The same verdict, with a word where both models are worse than an answer that ignores the input."""
    if baseline_score is None or max(ood.full, ood.planned) > baseline_score:
        return verdict
    mean = f"{ood.metric.name} {ood.metric.format(baseline_score)}"
    useless = f"; {subject} worse on OOD than always answering the mean ({mean})"
    return verdict.model_copy(update={"reason": verdict.reason + useless})
