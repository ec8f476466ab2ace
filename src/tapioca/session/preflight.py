"""What the data can show at all, said before the search."""

from dataclasses import dataclass
from itertools import compress
from typing import Self

import numpy as np

from tapioca.errors import DataError
from tapioca.plan import BRANCHES, Plan
from tapioca.records import Gain, Preflight
from tapioca.records.results import Domain, Interval
from tapioca.search.base import SearchSpace
from tapioca.search.stepwise import list_branch_drops, list_layer_drops
from tapioca.session.context import AnyRun
from tapioca.stats import smallest_detectable_effect
from tapioca.tasks.base import Task
from tapioca.tasks.batches import sample_batches

MAX_PROBED = 256
"""Most search examples of a data set on which single drops are scored, and of the ID data, which nothing is chosen by, the
full model."""


def run_preflight(job: AnyRun, stop_at_chance: bool = True) -> dict[Domain, Preflight]:
    """Score the full model and a few single drops on the search splits, and tell what could be found.

    The full model on the OOD data is what every search begins with, and drops are scored on a sample of whole batches; the
    answers are stored, so the search does not compute them again. Nothing else is read where the full model is at chance.

    Raises:
        DataError: the full model is not above chance on the OOD search split, so that accuracy cannot guide a search; not
            where `stop_at_chance` is False.
    """
    return {domain: _check_data_set(job, domain, stop_at_chance) for domain in job.search}


@dataclass(frozen=True)
class _FullModel:
    """The full model on search data."""

    full: float
    ci95: Interval
    chance: float | None
    above_chance: bool | None
    truncated: int
    tied: int

    @classmethod
    def evaluate(cls, job: AnyRun, domain: Domain, task: Task) -> Self:
        scores = job.evaluate(task, [Plan.full(job.n_layers)], f"full model on {domain.upper()} search data")
        interval = task.pairing(job.config.seed).mean_interval(scores.values[0])
        chance = None if task.chance is None else float(task.chance.mean())
        return cls(
            full=float(np.average(scores.values[0], weights=task.weights)),
            ci95=interval,
            chance=chance,
            above_chance=None if chance is None or task.metric.kind == "error" else interval[0] > chance,
            truncated=int(scores.truncated[0].sum()),
            tied=int(scores.tied[0].sum()),
        )

    def refuse_at_chance(self, job: AnyRun) -> None:
        task = job.search["ood"]
        if self.above_chance is not False or self.chance is None:
            return
        truncation_note = (
            f"; {self.truncated} of {len(task.examples)} answers broke off at max_new_tokens ({task.max_new_tokens})"
        )
        raise DataError(
            f"{job.config.task}: the full model scores {100 * self.full:.1f} % [{100 * self.ci95[0]:.1f}, {100 * self.ci95[1]:.1f}], "
            f"not above chance ({100 * self.chance:.1f} %), so accuracy cannot guide a search; use --score likelihood"
            + (truncation_note if self.truncated else "")
        )


def _check_data_set(job: AnyRun, domain: Domain, stop_at_chance: bool) -> Preflight:
    whole, test = job.search[domain], job.test[domain]
    probe = sample_batches(whole, job.config.batch_size, MAX_PROBED)
    task = whole if domain == "ood" else probe
    full_model = _FullModel.evaluate(job, domain, task)
    if stop_at_chance and domain == "ood":
        full_model.refuse_at_chance(job)
    reference_drop, gain = _find_mildest_drop(job, domain, probe)
    return Preflight(
        **vars(full_model),
        n_search=len(whole.examples),
        n_scored=len(task.examples) if len(task.examples) < len(whole.examples) else None,
        n_test=len(test.examples),
        baseline_score=task.baseline_score,
        reference_drop=reference_drop,
        labels=task.label_counts,
        unchanged=measure_no_change(test, job.config.seed),
        detectable=smallest_detectable_effect(gain, len(set(test.groups))),
    )


def _find_mildest_drop(job: AnyRun, domain: Domain, probe: Task) -> tuple[Plan, Gain]:
    """The mildest of a few single drops on some search examples, and what it changes there; on ID data the first.

    A race takes the OOD examples in another order; there they are the first that it takes, in its batches.
    """
    drops, what = reference_drops(job.space), f"single drops on {domain.upper()} search data"
    if domain == "id":
        drops = drops[:1]
    plans = [Plan.full(job.n_layers), *drops]
    if domain == "ood" and job.config.order_seed is not None:
        values = job.evaluate(job.search["ood"], plans, what, _StopAfter(MAX_PROBED, len(plans))).values
        is_scored = ~np.isnan(values[0])
        probe = probe.select_examples(compress(job.search["ood"].examples, is_scored))
        full_scores, *drop_scores = values[:, is_scored]
    else:
        full_scores, *drop_scores = job.evaluate(probe, plans, what).values
    pairing = probe.pairing(job.config.seed)
    gains = [pairing.compare(full_scores, row) for row in drop_scores]
    return max(zip(drops, gains, strict=True), key=lambda drop_and_gain: drop_and_gain[1].gain)


class _StopAfter:
    """Stops all plans once they have seen so many examples, or a batch that is larger."""

    def __init__(self, most: int, n_plans: int):
        self.running, self._left = np.arange(n_plans), most

    def look(self, scores: np.ndarray) -> np.ndarray:
        """Take the scores of the next examples, (plan, example); returns who goes on, all or none."""
        self._left -= scores.shape[1]
        if self._left <= 0:
            self.running = self.running[:0]
        return self.running


def measure_no_change(test: Task, seed: int) -> Interval | None:
    """The interval of a plan that changes no answer; None of errors, whose is 0 on any examples."""
    if test.metric.kind == "error":
        return None
    answers = np.zeros(len(test.examples))
    return test.pairing(seed).compare(answers, answers).ci95


def reference_drops(space: SearchSpace) -> list[Plan]:
    """Single drops a quarter, half and three quarters up; the mildest shows how many answers a drop changes.

    Branches where no whole layer can be dropped.
    """
    full = Plan.full(space.n_layers)
    drops = list_layer_drops(space, full) or list_branch_drops(*BRANCHES)(space, full)
    return [drops[index] for index in sorted({len(drops) // 4, len(drops) // 2, 3 * len(drops) // 4})]
