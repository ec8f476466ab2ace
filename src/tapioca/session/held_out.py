"""Plans on held-out examples, and one against another there: the same for every command."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tapioca.plan import Plan
from tapioca.progress import advancing
from tapioca.records import Gain, Scores, Written
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun
from tapioca.stats import Pairing
from tapioca.tasks.base import Task


def gain_of(task: Task, scores: Scores, first: Plan, second: Plan, seed: int) -> Gain:
    """What the second plan changes over the first; with how their texts ended where the model writes.

    Args:
        task: the examples.
        scores: of both plans on them, and perhaps of others.
        first, second: the plans.
        seed: of the resampling.
    """
    rows = [scores.plans.index(plan) for plan in (first, second)]
    before, after = scores.values[rows]
    gain = task.pairing(seed).compare(before, after)
    if not task.max_new_tokens:
        return gain
    written = Written(
        unparsed=scores.unparsed[rows].sum(1).tolist(),
        truncated=scores.truncated[rows].sum(1).tolist(),
        mean_length=scores.lengths[rows].mean(1).tolist(),
    )
    return gain.model_copy(update={"written": written})


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Plans on the test splits of a run, and what one changes over another there.

    Attributes:
        by_domain: scores of the full model and of all plans asked for.
    """

    job: AnyRun
    by_domain: dict[Domain, Scores]

    @classmethod
    def evaluate(cls, job: AnyRun, plans: Mapping[Domain, Sequence[Plan]]) -> Self:
        """Score plans on each test split, all of a split in one sweep; the full model first."""
        scores: dict[Domain, Scores] = {}
        for domain, task in job.test.items():
            asked = list(dict.fromkeys([Plan.full(job.n_layers), *plans[domain]]))
            scores[domain] = job.evaluate(task, asked, f"{len(asked)} plans on {domain.upper()} test data")
        return cls(job, scores)

    def pairing(self, domain: Domain) -> Pairing:
        """How scores on a split are compared."""
        return self.job.test[domain].pairing(self.job.config.seed)

    def measure_gain(self, domain: Domain, first: Plan, second: Plan) -> Gain:
        """What the second plan changes over the first on a split."""
        return gain_of(self.job.test[domain], self.by_domain[domain], first, second, self.job.config.seed)

    def measure_gains(self, domain: Domain, plans: Sequence[Plan]) -> dict[Plan, Gain]:
        """What each plan changes over the full model on a split, one interval after the other."""
        self.job.progress.stage(f"intervals on {domain.upper()} test data", len(plans))
        full = Plan.full(self.job.n_layers)
        return {plan: self.measure_gain(domain, full, plan) for plan in advancing(self.job.progress, plans)}
