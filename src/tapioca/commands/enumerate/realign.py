"""Realignment of every plan, and its rank correlation with what the plans gain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapioca.commands.enumerate.result import Correlation
from tapioca.observe import GeometrySample, capture_states, capture_states_of_plans
from tapioca.plan import Plan
from tapioca.profiles.many_plans import correlate_plans, realign_plans
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.session.context import AnyRun

MAX_SAMPLE = 128
"""Most examples of each data set whose states are kept; there is a state for each layer that any two plans reach
differently, and a distance matrix for each of these."""
DRAWS = 1_000
"""Resamples of examples, of plans, and relabellings of layers."""


@dataclass(frozen=True, eq=False)
class PlanRealignments:
    """Realignment of every plan.

    Attributes:
        realignment_by_kind: (kind, 1 + draw, plan), from `geometry.tree.realignments`.
        sample: examples of each data set.
        seed: of what is resampled.
    """

    realignment_by_kind: np.ndarray
    sample: int
    seed: int

    def realignment_of_plan(self, plan_index: int) -> dict[str, float]:
        """Norm and distance realignment of the plan at one place."""
        return dict(zip(PROFILE_KINDS, self.realignment_by_kind[:, 0, plan_index].tolist(), strict=True))

    def correlate_with_gains(
        self, plans: Sequence[Plan], plan_indices: Sequence[int], gains: np.ndarray
    ) -> tuple[Correlation, ...]:
        """Rank correlation of realignment with gain over all plans of one size.

        Args:
            plans: all of them.
            plan_indices: their places among all plans.
            gains: theirs, (1 + draw, plan).
        """
        relabellings = draw_relabellings(plans, self.seed)
        pairs = [
            (kind, correlate_plans(realignment[:, plan_indices], gains, relabellings, self.seed))
            for kind, realignment in zip(PROFILE_KINDS, self.realignment_by_kind, strict=True)
        ]
        return tuple(Correlation(kind=kind, **vars(correlation)) for kind, correlation in pairs if correlation)


def realign_all_plans(job: AnyRun, plans: Sequence[Plan]) -> PlanRealignments | None:
    """Measure the realignment of every plan on OOD search examples: gains are measured on others.

    The reference is a sample of the ID search split under the full model; all plans run together.

    Returns:
        None without ID data.
    """
    if "id" not in job.search:
        return None
    seed, full, model = job.config.seed, Plan.full(job.n_layers), job.loaded.model
    sample = GeometrySample.draw(job.search["id"], job.test["id"], job.search["ood"], seed, MAX_SAMPLE)
    job.progress.stage(f"geometry of {len(plans)} plans on {sample.size} OOD examples", 0)
    plan_states = capture_states_of_plans(model, [full, *plans], sample.ood, job.config.batch_size, job.schedule)
    reference_states = capture_states(model, full, sample.reference, job.config.batch_size)
    job.progress.stage("realignment and its resamples", 0)
    return PlanRealignments(realign_plans(plan_states, reference_states, plans, DRAWS, seed), sample.size, seed)


def draw_relabellings(plans: Sequence[Plan], seed: int) -> np.ndarray:
    """Which plan each becomes when the layers that can be dropped change names at random, (draw, plan).

    Args:
        plans: all plans of one size.
        seed: of the names.
    """
    place = {plan.drops: index for index, plan in enumerate(plans)}
    layers = sorted({layer for plan in plans for layer in plan.drops})
    rng, relabellings = np.random.default_rng(seed), np.empty((DRAWS, len(plans)), dtype=np.int64)
    for row in relabellings:
        new_layers = dict(zip(layers, rng.permutation(layers).tolist(), strict=True))
        row[:] = [place[tuple(sorted(new_layers[layer] for layer in plan.drops))] for plan in plans]
    return relabellings
