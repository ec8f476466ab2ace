"""Plans, and sums of their outputs, on held-out examples, and one against another there: the same for every command."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from tapioca.plan import Answerer, Plan
from tapioca.progress import advancing
from tapioca.records import Gain, Scores, Written
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun
from tapioca.stats import Pairing, correct_holm
from tapioca.tasks.base import Task
from tapioca.tasks.batches import sample_batches

A = TypeVar("A", bound=Answerer)


def gain_of(task: Task, scores: Scores, first: Answerer, second: Answerer, seed: int) -> Gain:
    """What the second plan changes over the first; with how their texts ended where the model writes.

    Args:
        task: the examples.
        scores: of both plans on them, and perhaps of others.
        first, second: the plans.
        seed: of the resampling.
    """
    return gain_of_pair(task, scores.select_plans(first, second), seed)


def gain_of_pair(task: Task, pair: Scores, seed: int) -> Gain:
    """The same of scores that are those of the two alone, the first one's first."""
    gain = task.pairing(seed).compare(*pair.values)
    if not task.max_new_tokens:
        return gain
    written = Written(
        unparsed=pair.unparsed.sum(1).tolist(),
        truncated=pair.truncated.sum(1).tolist(),
        mean_length=pair.lengths.mean(1).tolist(),
    )
    return gain.model_copy(update={"written": written})


@dataclass(frozen=True, eq=False)
class GainsBeside:
    """Random plans, and those they stand beside, on the same OOD test examples.

    Attributes:
        n: how many examples: all, or a sample.
        gain_by_plan: what each plan gains over the full model there.
    """

    n: int
    gain_by_plan: dict[Answerer, float]

    @classmethod
    def evaluate(cls, job: AnyRun, plans: Sequence[Answerer], random_plans: Sequence[Plan]) -> Self:
        """Score all of them in one sweep; the answers of `plans` serve when those are judged on the whole split."""
        config, full = job.config, Plan.full(job.n_layers)
        task = sample_batches(job.test["ood"], config.batch_size, config.random_examples)
        asked = list(dict.fromkeys([full, *plans, *random_plans]))
        scores = job.evaluate(task, asked, f"{len(random_plans)} random plans on OOD test data")
        pairing, full_scores = task.pairing(config.seed), scores.values_of(full)
        gains = {plan: pairing.effect(full_scores, scores.values_of(plan)) for plan in asked}
        return cls(len(task.examples), gains)

    def list_gains(self, plans: Iterable[Answerer]) -> tuple[float, ...]:
        """The gains of some plans, in their order."""
        return tuple(self.gain_by_plan[plan] for plan in plans)


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Plans on the test splits of a run, and what one changes over another there.

    Attributes:
        by_domain: scores of the full model and of all plans asked for.
    """

    job: AnyRun
    by_domain: dict[Domain, Scores]

    @classmethod
    def evaluate(cls, job: AnyRun, plans: Mapping[Domain, Sequence[Answerer]]) -> Self:
        """Score plans on each test split, all of a split in one sweep; the full model first."""
        scores: dict[Domain, Scores] = {}
        for domain, task in job.test.items():
            asked = list(dict.fromkeys([Plan.full(job.n_layers), *plans[domain]]))
            scores[domain] = job.evaluate(task, asked, f"{len(asked)} plans on {domain.upper()} test data")
        return cls(job, scores)

    def pairing(self, domain: Domain) -> Pairing:
        """How scores on a split are compared."""
        return self.job.test[domain].pairing(self.job.config.seed)

    def measure_gain(self, domain: Domain, first: Answerer, second: Answerer) -> Gain:
        """What the second plan changes over the first on a split."""
        return gain_of(self.job.test[domain], self.by_domain[domain], first, second, self.job.config.seed)

    def measure_gains(self, domain: Domain, plans: Sequence[A]) -> dict[A, Gain]:
        """What each plan changes over the full model on a split, one interval after the other."""
        self.job.progress.stage(f"intervals on {domain.upper()} test data", len(plans))
        full = Plan.full(self.job.n_layers)
        return {plan: self.measure_gain(domain, full, plan) for plan in advancing(self.job.progress, plans)}

    def paired_p(self, domain: Domain, first: Answerer, second: Answerer) -> float:
        """p-value of a paired t-test over groups of what the second plan changes over the first on a split."""
        scores = self.by_domain[domain]
        return self.pairing(domain).paired_p(scores.values_of(first), scores.values_of(second))

    def correct_p_values(self, domain: Domain, plans: Sequence[A]) -> dict[A, float]:
        """The same of each plan over the full model, corrected by Holm's method for all of them."""
        full = Plan.full(self.job.n_layers)
        p_values = [self.paired_p(domain, full, plan) for plan in plans]
        return dict(zip(plans, correct_holm(p_values), strict=True))
