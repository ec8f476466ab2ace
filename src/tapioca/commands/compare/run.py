"""The comparison: several criteria choose plans from the same data, and held-out data judge them all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from tapioca.commands import save_result
from tapioca.commands.compare.config import CompareConfig
from tapioca.commands.compare.flops import measure_relative_flops
from tapioca.commands.compare.judge_arms import judge_arms
from tapioca.commands.compare.result import EXACT, CompareResult, Pick
from tapioca.errors import UsageError
from tapioca.plan import Answerer, Plan
from tapioca.progress import SILENT, Progress
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.search.base import Picks, SearchSpace
from tapioca.search.random import draw_random_plans
from tapioca.session.context import AnyRun, RunContext, RunInputs, open_run
from tapioca.session.held_out import GainsBeside, HeldOutScores
from tapioca.session.preflight import run_preflight
from tapioca.session.run_criteria import CriteriaRunner, equivalent_criteria
from tapioca.session.search_space import compatible_criteria, criteria_by_name


def compare(config: CompareConfig, progress: Progress = SILENT, inputs: RunInputs | None = None) -> CompareResult:
    """Let each criterion choose a plan for each number of drops on the search split, and judge them on the test split."""
    criteria = criteria_by_name(config.criteria, config.shortlist)  # refused before anything is loaded
    sizes, first = config.sizes, next(iter(criteria))
    if config.arms and criteria[first].repeats:
        raise UsageError(f"--arms stand beside plans of drops, and {first} drops nothing; name another criterion first")
    with open_run(config, progress, inputs) as job:
        job.space = _restrict_to_requested(job)
        criteria, notes = compatible_criteria(criteria, job.space, job.search, config.criteria == "all")
        notes += equivalent_criteria(job, criteria)
        job.add_notes(*notes)
        checks = run_preflight(job)
        chooser = CriteriaRunner(job)
        choices_by_name = {name: chooser.choose(name, criterion) for name, criterion in criteria.items()}
        random_by_size = {size: draw_random_plans(job.space, {"layers": size}, config.random_plans) for size in sizes}
        picks_by_name = {name: picks for name, (picks, _) in choices_by_name.items()}
        if not any(picks_by_name.values()):
            raise UsageError(
                f"--criteria: {', '.join(criteria)} picks no plan of --drops {config.drops}; choose others"
            )
        gains_by_name = measure_search_gains(job, picks_by_name)
        judge = HeldOutJudge.evaluate(job, picks_by_name, random_by_size)
        first = next(iter(criteria))  # of those that fit
        arms = judge_arms(job, first, picks_by_name[first], random_by_size) if config.arms else ()
        info = CompareResult(
            **job.header(),  # behind the arms, which have notes of their own
            metric=job.metric,
            n_layers=job.n_layers,
            checks=checks,
            searched=tuple(
                cost.model_copy(update={"search_gains": gains_by_name[name]})
                for name, (_, cost) in choices_by_name.items()
            ),
            picks=judge.list_picks(),
            random=judge.random,
            random_n=judge.beside.n,
            arms=arms,
        )
        save_result("compare", info)
    return info


def _restrict_to_requested(job: RunContext[CompareConfig]) -> SearchSpace:
    """What there is to choose from, for the numbers of drops asked for.

    Raises:
        UsageError: more layers are to be dropped than the model can do without.
    """
    config, count, most = job.config, job.n_layers, job.space.max_drops
    if max(config.sizes) > most:
        raise UsageError(f"--drops {config.drops}: at most {most} of this model's {count} layers can go; use 1:{most}")
    return replace(job.space, sizes=config.sizes)


def measure_search_gains(job: AnyRun, picks_by_name: Mapping[str, Picks]) -> dict[str, dict[int, float]]:
    """What each criterion's plans of whole layers gain over TALE's on the search split, by number of drops: below 0, how far
    they fall short of the exact search. Nothing where TALE is not among the criteria."""
    exact, task = picks_by_name.get(EXACT, {}), job.search["ood"]
    rivals = {
        name: {size: plan for size, plan in picks.items() if size in exact and len(plan.drops) == size}
        for name, picks in picks_by_name.items()
    }
    plans = dict.fromkeys(plan for picks in rivals.values() for plan in picks.values())
    if not plans:
        return {name: {} for name in picks_by_name}
    scores, pairing = job.evaluate(task, [*plans], "plans chosen on OOD search data"), task.pairing(job.config.seed)
    return {
        name: {
            size: pairing.effect(scores.values_of(exact[size]), scores.values_of(plan)) for size, plan in picks.items()
        }
        for name, picks in rivals.items()
    }


@dataclass(frozen=True, eq=False)
class HeldOutJudge:
    """Every plan chosen, and random ones, on the test splits.

    Attributes:
        chosen: the plans of each criterion.
        scores: of the full model and of every plan chosen.
        gains: of every plan chosen over the full model.
        p: of these gains, corrected for all plans chosen.
        flops: share of the full model's operations left by each plan, counted on one prompt.
        beside: OOD gains of the random plans, and of the plans chosen on the same examples.
        random: the former by number of drops.
    """

    job: AnyRun
    chosen: dict[str, Picks]
    scores: HeldOutScores
    gains: dict[Domain, dict[Plan, Gain]]
    p: dict[Domain, dict[Plan, float]]
    flops: dict[Answerer, float]
    beside: GainsBeside
    random: dict[int, tuple[float, ...]]

    @classmethod
    def evaluate(cls, job: AnyRun, chosen: dict[str, Picks], random_by_size: dict[int, tuple[Plan, ...]]) -> Self:
        """Score all plans, and count what they save."""
        plans = list(dict.fromkeys(plan for picks in chosen.values() for plan in picks.values()))
        random_plans = [plan for same_size in random_by_size.values() for plan in same_size]
        beside = GainsBeside.evaluate(job, plans, random_plans)
        scores = HeldOutScores.evaluate(job, dict.fromkeys(job.test, plans))
        gains = {domain: scores.measure_gains(domain, plans) for domain in job.test}
        p = {domain: scores.correct_p_values(domain, plans) for domain in job.test}
        random = {size: beside.list_gains(same_size) for size, same_size in random_by_size.items()}
        flops = measure_relative_flops(job, [Plan.full(job.n_layers), *plans])
        return cls(job, chosen, scores, gains, p, flops, beside, random)

    def list_picks(self) -> tuple[Pick, ...]:
        """Every plan chosen, by number of drops; the best on OOD test data first."""
        table: dict[tuple[int, Plan], list[str]] = {}
        for name, plan_by_size in self.chosen.items():
            for size, plan in plan_by_size.items():
                table.setdefault((size, plan), []).append(name)
        picks = [self._make_pick(size, plan, tuple(names)) for (size, plan), names in table.items()]
        return tuple(sorted(picks, key=lambda pick: (pick.drops, -pick.ood.gain)))

    def _make_pick(self, size: int, plan: Plan, names: tuple[str, ...]) -> Pick:
        gain, first_plan = self.gains["ood"][plan], next(iter(self.chosen.values())).get(size)
        return Pick(
            drops=size,
            plan=plan,
            criteria=names,
            flops=self.flops[plan],
            ood=gain,
            p_ood=self.p["ood"][plan],
            id=self.gains["id"][plan] if "id" in self.gains else None,
            p_id=self.p["id"][plan] if "id" in self.p else None,
            rival=None if first_plan in (None, plan) else self.scores.measure_gain("ood", first_plan, plan),
            gain_beside=self.beside.gain_by_plan[plan],
            beaten=sum(self.beside.gain_by_plan[plan] > random_gain for random_gain in self.random[size]),
            front=self._is_on_front(plan),
        )

    def _is_on_front(self, plan: Plan) -> bool:
        """Whether no other plan is as good for fewer operations, or better for as few."""
        gains = {Plan.full(plan.n_layers): 0.0} | {other: gain.gain for other, gain in self.gains["ood"].items()}
        flops_and_gain = self.flops[plan], gains[plan]
        return not any(_dominates((self.flops[other], gain), flops_and_gain) for other, gain in gains.items())


def _dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether (operations, gain) `first` is nowhere worse than `second` and somewhere better."""
    return first[0] <= second[0] and first[1] >= second[1] and first != second
