"""The arms beside the plans of the first criterion, judged on held-out data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tapioca.commands.compare.arms import ARMS, DROP, ArmSource, describe_reading, make_arms
from tapioca.commands.compare.flops import measure_relative_flops
from tapioca.commands.compare.result import ArmResult
from tapioca.plan import Answerer, Plan
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.search.base import Picks
from tapioca.session.context import AnyRun
from tapioca.session.held_out import GainsBeside, HeldOutScores
from tapioca.stats import correct_holm


def judge_arms(
    job: AnyRun, first: str, picks: Picks, random_by_size: Mapping[int, tuple[Plan, ...]]
) -> tuple[ArmResult, ...]:
    """Every arm beside each plan of drops, in the order of both.

    Args:
        job: the run.
        first, picks: the first criterion, and its plans by the number of drops.
        random_by_size: random plans that drop as many layers.
    """
    if not picks:
        job.add_notes(f"arms are left out: {first} picks no plan of {job.config.drops} drops")
        return ()
    source = ArmSource(job)
    arms_by_size = {size: make_arms(source, plan) for size, plan in picks.items()}
    judge = ArmJudge.evaluate(source, arms_by_size, random_by_size)
    return tuple(judge.judge_arm(size, name) for size, arms in arms_by_size.items() for name in arms)


@dataclass(frozen=True, eq=False)
class ArmJudge:
    """What is known of the arms on the test splits.

    Attributes:
        source: what they were made from.
        arms: what each scores, by number of drops and name.
        scores: of all of that, and of the full model.
        gains, p: over the full model, and the p-values of these, corrected for all arms.
        p_against: p-values of what each arm changes over its plan on OOD data, corrected for all of these.
        flops: share of the full model's operations.
        beside: gains on the OOD examples of the random plans.
        random: those plans by number of drops.
    """

    source: ArmSource
    arms: dict[tuple[int, str], Answerer]
    scores: HeldOutScores
    gains: dict[Domain, dict[Answerer, Gain]]
    p: dict[Domain, dict[Answerer, float]]
    p_against: dict[tuple[int, str], float]
    flops: dict[Answerer, float]
    beside: GainsBeside
    random: Mapping[int, tuple[Plan, ...]]

    @classmethod
    def evaluate(
        cls,
        source: ArmSource,
        arms_by_size: dict[int, dict[str, Answerer]],
        random_by_size: Mapping[int, tuple[Plan, ...]],
    ) -> Self:
        """Score all arms, each once however many plans it stands beside."""
        job = source.job
        arms = {(size, name): arm for size, by_name in arms_by_size.items() for name, arm in by_name.items()}
        distinct = list(dict.fromkeys(arms.values()))
        beside = GainsBeside.evaluate(job, distinct, [plan for plans in random_by_size.values() for plan in plans])
        scores = HeldOutScores.evaluate(job, dict.fromkeys(job.test, distinct))
        rivals = [key for key in arms if key[1] != DROP]
        pairs = [(arms[size, DROP], arms[size, name]) for size, name in rivals]
        return cls(
            source=source,
            arms=arms,
            scores=scores,
            gains={domain: scores.measure_gains(domain, distinct) for domain in job.test},
            p={domain: scores.correct_p_values(domain, distinct) for domain in job.test},
            p_against=dict(zip(rivals, correct_holm([scores.paired_p("ood", *pair) for pair in pairs]), strict=True)),
            flops=measure_relative_flops(job, distinct),
            beside=beside,
            random=random_by_size,
        )

    def judge_arm(self, size: int, name: str) -> ArmResult:
        """One arm beside the plan of so many drops."""
        arm, drop = self.arms[size, name], self.arms[size, DROP]
        gain_beside = self.beside.gain_by_plan[arm]
        return ArmResult(
            drops=size,
            name=name,
            about=ARMS[name].about,
            reads=describe_reading(ARMS[name], self.source.inputs_domain),
            scored=arm,
            flops=self.flops[arm],
            ood=self.gains["ood"][arm],
            p_ood=self.p["ood"][arm],
            id=self.gains["id"][arm] if "id" in self.gains else None,
            p_id=self.p["id"][arm] if "id" in self.p else None,
            against=None if name == DROP else self.scores.measure_gain("ood", drop, arm),
            p_against=self.p_against.get((size, name)),
            gain_beside=gain_beside,
            beaten=sum(gain_beside > random_gain for random_gain in self.beside.list_gains(self.random[size])),
        )
