"""What the data can show at all, said before the search."""

from __future__ import annotations

import numpy as np

from tapioca.errors import DataError
from tapioca.flows.prepare import Job
from tapioca.records import BRANCHES, Check, Plan
from tapioca.records.results import Data
from tapioca.search.base import Space
from tapioca.search.stepwise import branch_drops, layer_drops
from tapioca.stats import compare, detectable, mean_interval
from tapioca.tasks.base import Task


def check(job: Job) -> dict[Data, Check]:
    """Score the full model and a few single drops on the search splits, and tell what could be found.

    The answers are stored, so the search does not compute them again.
    """
    return {data: _check(job, data, task, job.test[data]) for data, task in job.search.items()}


def refuse_at_chance(job: Job, checks: dict[Data, Check]) -> None:
    """Stop where accuracy cannot guide a search.

    Raises:
        DataError: the full model is not above chance on the OOD search split.
    """
    found = checks["ood"]
    if found.above_chance is False and found.chance is not None:
        task = job.search["ood"]
        broken = f"; {found.truncated} of {found.n_search} answers broke off at max_new_tokens ({task.budget})"
        raise DataError(
            f"{job.config.task}: the full model scores {100 * found.full:.1f} % [{100 * found.ci95[0]:.1f}, {100 * found.ci95[1]:.1f}], "
            f"not above chance ({100 * found.chance:.1f} %), so accuracy cannot guide a search; use --score likelihood"
            + (broken if found.truncated else "")
        )


def _check(job: Job, data: Data, task: Task, test: Task) -> Check:
    full, drops = Plan.full(job.n_layers), probes(job.space)
    plans = [full, *drops] if data == "ood" else [full, drops[0]]
    scores = job.evaluate(task, plans, f"full model on {data.upper()} search data")
    gains = [
        compare(scores.values[0], row, task.weights, task.groups, task.metric, job.config.seed)
        for row in scores.values[1:]
    ]
    mildest = max(range(len(gains)), key=lambda at: gains[at].gain)
    chance = task.chance
    interval = mean_interval(scores.values[0], task.weights, task.groups, job.config.seed)
    return Check(
        n_search=len(task.examples),
        n_test=len(test.examples),
        full=float(np.average(scores.values[0], weights=task.weights)),
        ci95=interval,
        chance=None if chance is None else float(chance.mean()),
        above_chance=None if chance is None or task.metric.kind == "error" else interval[0] > float(chance.mean()),
        constant=task.constant,
        probe=drops[mildest],
        labels=task.balance,
        truncated=int(scores.truncated[0].sum()),
        tied=int(scores.tied[0].sum()),
        detectable=detectable(gains[mildest], len(set(test.groups))),
    )


def probes(space: Space) -> list[Plan]:
    """Single drops a quarter, half and three quarters up; the mildest shows how many answers a drop changes.

    Branches where no whole layer can be dropped.
    """
    drops = layer_drops(space, Plan.full(space.n_layers)) or branch_drops(*BRANCHES)(space, Plan.full(space.n_layers))
    return [drops[at] for at in sorted({len(drops) // 4, len(drops) // 2, 3 * len(drops) // 4})]
