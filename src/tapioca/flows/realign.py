"""Realignment of every plan, and its rank correlation with what the plans gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapioca.flows.prepare import Job
from tapioca.geometry.profiles import KINDS
from tapioca.geometry.tree import correlate, realignments
from tapioca.observe import sample, states, states_of_plans
from tapioca.records import Correlation, Plan

SAMPLE = 128
"""Most examples of each data set whose states are kept; there is a state for each layer that any two plans reach
differently, and a distance matrix for each of these."""
DRAWS = 1_000
"""Resamples of examples, of plans, and relabellings of layers."""


@dataclass(frozen=True, eq=False)
class Realigned:
    """Realignment of every plan.

    Attributes:
        found: (kind, 1 + draw, plan), from `geometry.tree.realignments`.
        sample: examples of each data set.
        seed: of what is resampled.
    """

    found: np.ndarray
    sample: int
    seed: int

    def values(self, at: int) -> dict[str, float]:
        """Norm and distance realignment of the plan at one place."""
        return dict(zip(KINDS, self.found[:, 0, at].tolist(), strict=True))

    def correlations(self, plans: Sequence[Plan], at: Sequence[int], gains: np.ndarray) -> tuple[Correlation, ...]:
        """Rank correlation of realignment with gain over all plans of one size.

        Args:
            plans: all of them.
            at: their places among all plans.
            gains: theirs, (1 + draw, plan).
        """
        others = relabelled(plans, self.seed)
        pairs = [
            (kind, correlate(some[:, at], gains, others, self.seed))
            for kind, some in zip(KINDS, self.found, strict=True)
        ]
        return tuple(Correlation(kind=kind, **vars(found)) for kind, found in pairs if found)


def realign(job: Job, plans: Sequence[Plan]) -> Realigned | None:
    """Measure the realignment of every plan on OOD search examples: gains are measured on others.

    The reference is a sample of the ID search split under the full model; all plans run together.

    Returns:
        None without ID data.
    """
    if "id" not in job.search:
        return None
    seed, full, model = job.config.seed, Plan.full(job.n_layers), job.loaded.model
    size = min(SAMPLE, *(len(set(task.groups)) for task in job.search.values()))
    seen, reference = (sample(job.search[data].examples, size, seed) for data in ("ood", "id"))
    job.watcher.stage(f"geometry of {len(plans)} plans on {size} OOD examples", 0)
    found = states_of_plans(model, [full, *plans], seen, job.config.batch_size, job.schedule)
    against = states(model, full, reference, job.config.batch_size)
    job.watcher.stage("realignment and its resamples", 0)
    return Realigned(realignments(found, against, plans, DRAWS, seed), size, seed)


def relabelled(plans: Sequence[Plan], seed: int) -> np.ndarray:
    """Which plan each becomes when the layers that can be dropped change names at random, (draw, plan).

    Args:
        plans: all plans of one size.
        seed: of the names.
    """
    place = {plan.drops: at for at, plan in enumerate(plans)}
    layers = sorted({layer for plan in plans for layer in plan.drops})
    rng, found = np.random.default_rng(seed), np.empty((DRAWS, len(plans)), dtype=np.int64)
    for row in found:
        name = dict(zip(layers, rng.permutation(layers).tolist(), strict=True))
        row[:] = [place[tuple(sorted(name[layer] for layer in plan.drops))] for plan in plans]
    return found
