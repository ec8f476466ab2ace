"""What the data can show at all, said before the search."""

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


def run_preflight(job: AnyRun) -> dict[Domain, Preflight]:
    """Score the full model and a few single drops on the search splits, and tell what could be found.

    The full model on the OOD data is what every search begins with, and drops are scored on a sample of whole batches; the
    answers are stored, so the search does not compute them again.
    """
    return {domain: _check_data_set(job, domain, task, job.test[domain]) for domain, task in job.search.items()}


def refuse_at_chance(job: AnyRun, checks: dict[Domain, Preflight]) -> None:
    """Stop where accuracy cannot guide a search.

    Raises:
        DataError: the full model is not above chance on the OOD search split.
    """
    ood_check = checks["ood"]
    if ood_check.above_chance is False and ood_check.chance is not None:
        task = job.search["ood"]
        truncation_note = f"; {ood_check.truncated} of {ood_check.n_search} answers broke off at max_new_tokens ({task.max_new_tokens})"
        raise DataError(
            f"{job.config.task}: the full model scores {100 * ood_check.full:.1f} % [{100 * ood_check.ci95[0]:.1f}, {100 * ood_check.ci95[1]:.1f}], "
            f"not above chance ({100 * ood_check.chance:.1f} %), so accuracy cannot guide a search; use --score likelihood"
            + (truncation_note if ood_check.truncated else "")
        )


def _check_data_set(job: AnyRun, domain: Domain, task: Task, test: Task) -> Preflight:
    probe, n_search = sample_batches(task, job.config.batch_size, MAX_PROBED), len(task.examples)
    task = task if domain == "ood" else probe
    full, seed = Plan.full(job.n_layers), job.config.seed
    scores = job.evaluate(task, [full], f"full model on {domain.upper()} search data")
    reference_drop, gain = _find_mildest_drop(job, domain, probe)
    chance = task.chance
    interval = task.pairing(seed).mean_interval(scores.values[0])
    return Preflight(
        n_search=n_search,
        n_scored=len(task.examples) if len(task.examples) < n_search else None,
        n_test=len(test.examples),
        full=float(np.average(scores.values[0], weights=task.weights)),
        ci95=interval,
        chance=None if chance is None else float(chance.mean()),
        above_chance=None if chance is None or task.metric.kind == "error" else interval[0] > float(chance.mean()),
        baseline_score=task.baseline_score,
        reference_drop=reference_drop,
        labels=task.label_counts,
        truncated=int(scores.truncated[0].sum()),
        tied=int(scores.tied[0].sum()),
        unchanged=_measure_no_change(test, seed),
        detectable=smallest_detectable_effect(gain, len(set(test.groups))),
    )


def _find_mildest_drop(job: AnyRun, domain: Domain, probe: Task) -> tuple[Plan, Gain]:
    """The mildest of a few single drops on some search examples, and what it changes there; on ID data the first."""
    drops, pairing = reference_drops(job.space)[: None if domain == "ood" else 1], probe.pairing(job.config.seed)
    plans = [Plan.full(job.n_layers), *drops]
    full_scores, *drop_scores = job.evaluate(probe, plans, f"single drops on {domain.upper()} search data").values
    gains = [pairing.compare(full_scores, row) for row in drop_scores]
    return max(zip(drops, gains, strict=True), key=lambda drop_and_gain: drop_and_gain[1].gain)


def _measure_no_change(test: Task, seed: int) -> Interval | None:
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
