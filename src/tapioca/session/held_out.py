"""One plan against another on held-out examples."""

from collections.abc import Sequence

from tapioca.plan import Plan
from tapioca.progress import advancing
from tapioca.records import Gain, Scores, Written
from tapioca.records.results import Domain
from tapioca.session.context import AnyRun
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


def measure_gains(job: AnyRun, domain: Domain, scores: Scores, plans: Sequence[Plan]) -> dict[Plan, Gain]:
    """What each plan changes over the full model on a test split, one interval after the other.

    Args:
        scores: of the full model and of all plans.
    """
    job.progress.stage(f"intervals on {domain.upper()} test data", len(plans))
    full, task, seed = Plan.full(job.n_layers), job.test[domain], job.config.seed
    return {plan: gain_of(task, scores, full, plan, seed) for plan in advancing(job.progress, plans)}
