"""What the data can show at all, said before the search."""

import numpy as np

from tapioca.errors import DataError
from tapioca.plan import BRANCHES, Plan
from tapioca.records import Preflight
from tapioca.records.results import Domain, Interval
from tapioca.search.base import SearchSpace
from tapioca.search.stepwise import list_branch_drops, list_layer_drops
from tapioca.session.context import AnyRun
from tapioca.stats import smallest_detectable_effect
from tapioca.tasks.base import Task


def run_preflight(job: AnyRun) -> dict[Domain, Preflight]:
    """Score the full model and a few single drops on the search splits, and tell what could be found.

    The answers are stored, so the search does not compute them again.
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
    full, drops = Plan.full(job.n_layers), reference_drops(job.space)
    plans = [full, *drops] if domain == "ood" else [full, drops[0]]
    scores = job.evaluate(task, plans, f"full model and single drops on {domain.upper()} search data")
    full_scores, pairing = scores.values[0], task.pairing(job.config.seed)
    gains = [pairing.compare(full_scores, row) for row in scores.values[1:]]
    mildest_index = max(range(len(gains)), key=lambda index: gains[index].gain)
    chance = task.chance
    interval = pairing.mean_interval(full_scores)
    return Preflight(
        n_search=len(task.examples),
        n_test=len(test.examples),
        full=float(np.average(full_scores, weights=task.weights)),
        ci95=interval,
        chance=None if chance is None else float(chance.mean()),
        above_chance=None if chance is None or task.metric.kind == "error" else interval[0] > float(chance.mean()),
        baseline_score=task.baseline_score,
        reference_drop=drops[mildest_index],
        labels=task.label_counts,
        truncated=int(scores.truncated[0].sum()),
        tied=int(scores.tied[0].sum()),
        unchanged=_measure_no_change(test, job.config.seed),
        detectable=smallest_detectable_effect(gains[mildest_index], len(set(test.groups))),
    )


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
