"""Dose and response: what sets of layers do to scores and deviations at every scale, resampled together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.flows.prepare import RunContext
from tapioca.observe import MAX_EXAMPLES, capture_states, capture_states_of_plans, draw_sample
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import list_steps
from tapioca.profiles.deviation import DRAWS, mean_deviation, recentred_interval
from tapioca.profiles.permutation import deviation_statistic, split_halves
from tapioca.profiles.profiles import PROFILE_KINDS, resample_examples, state_geometry
from tapioca.records import Change, Outcome, Trend
from tapioca.records.scale import FEWEST
from tapioca.stats import bootstrap_p, percentile_interval, rank_correlation, share_as_strong


def plans_by_scale(drops: Plan, alphas: tuple[float, ...]) -> dict[float, Plan]:
    """What a plan of drops becomes at every scale; a scale at which no layer is left is missing."""
    return {alpha: plan for alpha in alphas if (plan := drops.dose(alpha)).kept}


@dataclass(frozen=True, eq=False)
class ScaleResponses:
    """The outcomes of one set of layers at every scale.

    Attributes:
        scales: the scales, ascending, (scale,).
        outcomes: (1 + draw, scale): of the examples as they are, then of resampled ones, the same for all scales. Scores
            and deviations, which are of fewer examples, are resampled apart.
    """

    scales: np.ndarray
    outcomes: dict[Outcome, np.ndarray]

    @property
    def trend_ranges(self) -> list[tuple[float, float]]:
        """The ranges of scales that trends are of: up to the full model, and all; those with points enough."""
        first, last = float(self.scales[0]), float(self.scales[-1])
        spans = dict.fromkeys([(first, 1.0), (first, last)])
        return [(low, high) for low, high in spans if (self.scales <= high).sum() >= FEWEST]

    def correlate_columns(self, x: str, y: Outcome, last: float) -> np.ndarray:
        """Rank correlation of two columns over the scales up to `last`, (1 + draw,)."""
        in_range = self.scales <= last
        second = self.outcomes[y][:, in_range]
        first = (
            self.outcomes[x][:, in_range]
            if x in self.outcomes
            else np.broadcast_to(self.scales[in_range], second.shape)
        )
        return rank_correlation(first, second)

    def measure_change(self, y: Outcome) -> np.ndarray:
        """An outcome at the smallest scale less that of the full model, (1 + draw,)."""
        full_index = int(np.flatnonzero(self.scales == 1.0)[0])
        return self.outcomes[y][:, 0] - self.outcomes[y][:, full_index]

    def measure_trends(self, others: list[ScaleResponses]) -> tuple[Trend, ...]:
        """Of every outcome with the scale, and of every deviation with the score, beside those of random sets."""
        trends = []
        pairs = [("alpha", y) for y in self.outcomes] + [("score", y) for y in self.outcomes if y != "score"]
        for x, y in pairs:
            for first, last in self.trend_ranges:
                rho = self.correlate_columns(x, y, last)
                trends.append(
                    Trend(
                        x=x,
                        y=y,
                        first=first,
                        last=last,
                        rho=float(rho[0]),
                        ci95=percentile_interval(rho),
                        p=bootstrap_p(rho),
                        as_strong=share_as_strong(
                            rho[0], [float(response.correlate_columns(x, y, last)[0]) for response in others]
                        ),
                    )
                )
        return tuple(trends)

    def measure_changes(self, others: list[ScaleResponses]) -> tuple[Change, ...]:
        """Of every outcome from the full model to the smallest scale, beside those of random sets."""
        changes = []
        for y in self.outcomes if self.scales[0] < 1 else ():
            change = self.measure_change(y)
            random_changes = [float(response.measure_change(y)[0]) for response in others]
            value, ci95 = float(change[0]), recentred_interval(float(change[0]), change[1:])
            changes.append(Change(y=y, value=value, ci95=ci95, as_strong=share_as_strong(value, random_changes)))
        return tuple(changes)


def observed(job: RunContext) -> int:
    """How many examples of OOD, and of ID, have their states observed."""
    return min(MAX_EXAMPLES, *(len(set(task.groups)) for task in (job.search["id"], *job.test.values())))


class DeviationSweep:
    """Deviations of OOD test data under any plan from ID data under the full model.

    The examples are those of `flows.geometry`.

    Attributes:
        size: examples of OOD, and of ID.
    """

    def __init__(self, job: RunContext):
        self._job, seed = job, job.config.seed
        self.size = observed(job)
        self._ood_examples = draw_sample(job.test["ood"].examples, self.size, seed)
        first, second = (draw_sample(split["id"].examples, self.size, seed) for split in (job.search, job.test))
        pool = capture_states(job.loaded.model, Plan.full(job.n_layers), (*first, *second), job.config.batch_size)
        self._pool = state_geometry(pool)
        rng = np.random.default_rng(seed)
        self._counts, against = (
            np.vstack([np.ones(self.size), resample_examples(self.size, DRAWS, rng)]) for _ in range(2)
        )
        self._reference_profiles = self._pool.select(examples=range(self.size)).profiles(against)

    def measure_deviations_by_plan(
        self, plans: list[Plan], layers: tuple[int, ...], draws: bool
    ) -> dict[Outcome, np.ndarray]:
        """Norm and distance deviations over layers that all plans keep, (1, plan), with `draws` (1 + draw, plan)."""
        model, config, advance = self._job.loaded.model, self._job.config, self._job.watcher.advance
        states_by_steps = capture_states_of_plans(
            model, plans, self._ood_examples, config.batch_size, self._job.schedule, on_batch=advance
        )
        counts = self._counts if draws else self._counts[:1]
        columns: dict[Outcome, list[np.ndarray]] = {kind: [] for kind in PROFILE_KINDS}
        for plan in plans:
            plan_steps = list_steps(plan)
            profiles = state_geometry(
                np.stack([states_by_steps[plan_steps[: layer + 1]] for layer in layers])
            ).profiles(counts)
            for kind, profile, against in zip(PROFILE_KINDS, profiles, self._reference_profiles, strict=True):
                columns[kind].append(mean_deviation(profile, against[: len(counts), list(layers)]))
        return {kind: np.stack(column, axis=1) for kind, column in columns.items()}

    def null_percentiles(self, layers: tuple[int, ...]) -> dict[Outcome, float]:
        """95th percentile of the deviation between two ID samples of the same size."""
        pool, seed = self._pool.select(layers=layers), self._job.config.seed
        profiles = zip(PROFILE_KINDS, (pool.norm_profile, pool.distance_profile), strict=True)
        return {
            kind: float(np.percentile(split_halves(deviation_statistic(made), self.size, seed), 95))
            for kind, made in profiles
        }
