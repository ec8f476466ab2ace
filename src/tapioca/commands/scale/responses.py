"""Dose and response: what sets of layers do to scores and deviations at every scale, resampled together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.commands.scale.config import FEWEST
from tapioca.commands.scale.result import Change, Outcome, RandomSet, Trend
from tapioca.observe import GeometrySample, capture_states, capture_states_of_plans
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import list_steps
from tapioca.profiles.deviation import RESAMPLES, mean_deviation, measure_null, recentred_interval
from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, count_and_resample, state_geometry
from tapioca.records import Example
from tapioca.session.context import AnyRun
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
        if x in self.outcomes:
            return rank_correlation(self.outcomes[x][:, in_range], second)
        return rank_correlation(np.broadcast_to(self.scales[in_range], second.shape), second)

    def measure_change(self, y: Outcome) -> np.ndarray:
        """An outcome at the smallest scale less that of the full model, (1 + draw,)."""
        full_index = int(np.flatnonzero(self.scales == 1.0)[0])
        return self.outcomes[y][:, 0] - self.outcomes[y][:, full_index]

    def summarize(self, drops: Plan) -> RandomSet:
        """What a random set of layers does, without resamples."""
        return RandomSet(drops=drops, **{y: tuple(outcome[0].tolist()) for y, outcome in self.outcomes.items()})

    def measure_trends(self, others: list[ScaleResponses]) -> tuple[Trend, ...]:
        """Of every outcome with the scale, and of every deviation with the score, beside those of random sets."""
        trends = []
        pairs = [("alpha", y) for y in self.outcomes] + [("score", y) for y in self.outcomes if y != "score"]
        for x, y in pairs:
            for first, last in self.trend_ranges:
                rho = self.correlate_columns(x, y, last)
                peers = [float(response.correlate_columns(x, y, last)[0]) for response in others]
                ends, p, as_strong = percentile_interval(rho), bootstrap_p(rho), share_as_strong(rho[0], peers)
                trends.append(
                    Trend(x=x, y=y, first=first, last=last, rho=float(rho[0]), ci95=ends, p=p, as_strong=as_strong)
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


@dataclass(frozen=True, eq=False)
class DeviationSweep:
    """Deviations of OOD test data under any plan from ID data under the full model.

    Attributes:
        ood_examples: those of `GeometrySample`.
        pool: the ID reference, then equally many other ID examples, under the full model.
        counts: how often each OOD example is drawn, (1 + draw, example); once each at first.
        reference_profiles: of the reference, resampled apart, (kind, 1 + draw, layer).
    """

    job: AnyRun
    ood_examples: tuple[Example, ...]
    pool: StateGeometry
    counts: np.ndarray
    reference_profiles: np.ndarray

    @classmethod
    def observe(cls, job: AnyRun, sample: GeometrySample) -> Self:
        """Read the ID examples under the full model."""
        full, size = Plan.full(job.n_layers), sample.size
        pool = state_geometry(capture_states(job.loaded.model, full, sample.pool, job.config.batch_size))
        rng = np.random.default_rng(job.config.seed)
        counts, against = (count_and_resample(size, RESAMPLES, rng) for _ in range(2))
        return cls(job, sample.ood, pool, counts, pool.select(examples=range(size)).profiles(against))

    @property
    def size(self) -> int:
        """Examples of OOD, and of ID."""
        return len(self.ood_examples)

    def measure_deviations_by_plan(
        self, plans: list[Plan], layers: tuple[int, ...], draws: bool
    ) -> dict[Outcome, np.ndarray]:
        """Norm and distance deviations over layers that all plans keep, (1, plan), with `draws` (1 + draw, plan)."""
        job = self.job
        states_by_steps = capture_states_of_plans(
            job.loaded.model,
            plans,
            self.ood_examples,
            job.config.batch_size,
            job.schedule,
            on_batch=job.progress.advance,
        )
        counts = self.counts if draws else self.counts[:1]
        reference_profiles = self.reference_profiles[:, : len(counts), list(layers)]
        columns = []
        for plan in plans:
            plan_steps = list_steps(plan)
            states = np.stack([states_by_steps[plan_steps[: layer + 1]] for layer in layers])
            columns.append(mean_deviation(state_geometry(states).profiles(counts), reference_profiles))
        return dict(zip(PROFILE_KINDS, np.stack(columns, axis=-1), strict=True))

    def null_percentiles(self, layers: tuple[int, ...]) -> dict[Outcome, float]:
        """95th percentile of the deviation between two ID samples of the same size."""
        nulls = measure_null(self.pool.select(layers=layers), self.job.config.seed)
        return dict(zip(PROFILE_KINDS, np.percentile(nulls, 95, axis=-1).tolist(), strict=True))
