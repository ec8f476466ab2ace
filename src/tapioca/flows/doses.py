"""Dose and response: what sets of layers do to scores and deviations at every scale, resampled together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.flows.prepare import Job
from tapioca.geometry.alignment import DRAWS, around, deviation
from tapioca.geometry.nulls import deviating, split_halves
from tapioca.geometry.profiles import KINDS, resamples, shape
from tapioca.observe import SAMPLE, sample, states, states_of_plans
from tapioca.records import Change, Outcome, Plan, Trend
from tapioca.records.scale import FEWEST
from tapioca.records.tree import steps
from tapioca.stats import as_strong, rank_correlation, resampled_interval, resampled_p


def doses(drops: Plan, alphas: tuple[float, ...]) -> dict[float, Plan]:
    """What a plan of drops becomes at every scale; a scale at which no layer is left is missing."""
    return {alpha: plan for alpha in alphas if (plan := drops.dose(alpha)).kept}


@dataclass(frozen=True, eq=False)
class Response:
    """The outcomes of one set of layers at every scale.

    Attributes:
        alphas: the scales, ascending, (scale,).
        outcomes: (1 + draw, scale): of the examples as they are, then of resampled ones, the same for all scales. Scores
            and deviations, which are of fewer examples, are resampled apart.
    """

    alphas: np.ndarray
    outcomes: dict[Outcome, np.ndarray]

    @property
    def spans(self) -> list[tuple[float, float]]:
        """The ranges of scales that trends are of: up to the full model, and all; those with points enough."""
        first, last = float(self.alphas[0]), float(self.alphas[-1])
        spans = dict.fromkeys([(first, 1.0), (first, last)])
        return [(low, high) for low, high in spans if (self.alphas <= high).sum() >= FEWEST]

    def rho(self, x: str, y: Outcome, last: float) -> np.ndarray:
        """Rank correlation of two columns over the scales up to `last`, (1 + draw,)."""
        at = self.alphas <= last
        second = self.outcomes[y][:, at]
        first = self.outcomes[x][:, at] if x in self.outcomes else np.broadcast_to(self.alphas[at], second.shape)
        return rank_correlation(first, second)

    def change(self, y: Outcome) -> np.ndarray:
        """An outcome at the smallest scale less that of the full model, (1 + draw,)."""
        whole = int(np.flatnonzero(self.alphas == 1.0)[0])
        return self.outcomes[y][:, 0] - self.outcomes[y][:, whole]

    def trends(self, others: list[Response]) -> tuple[Trend, ...]:
        """Of every outcome with the scale, and of every deviation with the score, beside those of random sets."""
        found = []
        pairs = [("alpha", y) for y in self.outcomes] + [("score", y) for y in self.outcomes if y != "score"]
        for x, y in pairs:
            for first, last in self.spans:
                rho = self.rho(x, y, last)
                found.append(
                    Trend(
                        x=x,
                        y=y,
                        first=first,
                        last=last,
                        rho=float(rho[0]),
                        ci95=resampled_interval(rho),
                        p=resampled_p(rho),
                        as_strong=as_strong(rho[0], [float(other.rho(x, y, last)[0]) for other in others]),
                    )
                )
        return tuple(found)

    def changes(self, others: list[Response]) -> tuple[Change, ...]:
        """Of every outcome from the full model to the smallest scale, beside those of random sets."""
        found = []
        for y in self.outcomes if self.alphas[0] < 1 else ():
            change = self.change(y)
            rivals = [float(other.change(y)[0]) for other in others]
            value, ci95 = float(change[0]), around(float(change[0]), change[1:])
            found.append(Change(y=y, value=value, ci95=ci95, as_strong=as_strong(value, rivals)))
        return tuple(found)


def observed(job: Job) -> int:
    """How many examples of OOD, and of ID, have their states observed."""
    return min(SAMPLE, *(len(set(task.groups)) for task in (job.search["id"], *job.test.values())))


class Geometry:
    """Deviations of OOD test data under any plan from ID data under the full model.

    The examples are those of `flows.geometry`.

    Attributes:
        size: examples of OOD, and of ID.
    """

    def __init__(self, job: Job):
        self._job, seed = job, job.config.seed
        self.size = observed(job)
        self._seen = sample(job.test["ood"].examples, self.size, seed)
        first, second = (sample(split["id"].examples, self.size, seed) for split in (job.search, job.test))
        pool = states(job.loaded.model, Plan.full(job.n_layers), (*first, *second), job.config.batch_size)
        self._pool = shape(pool)
        rng = np.random.default_rng(seed)
        self._counts, against = (np.vstack([np.ones(self.size), resamples(self.size, DRAWS, rng)]) for _ in range(2))
        self._against = self._pool.take(examples=range(self.size)).profiles(against)

    def deviations(self, plans: list[Plan], layers: tuple[int, ...], draws: bool) -> dict[Outcome, np.ndarray]:
        """Norm and distance deviations over layers that all plans keep, (1, plan), with `draws` (1 + draw, plan)."""
        model, config, advance = self._job.loaded.model, self._job.config, self._job.watcher.advance
        found = states_of_plans(model, plans, self._seen, config.batch_size, self._job.schedule, on_batch=advance)
        counts = self._counts if draws else self._counts[:1]
        columns: dict[Outcome, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for plan in plans:
            said = steps(plan)
            profiles = shape(np.stack([found[said[: layer + 1]] for layer in layers])).profiles(counts)
            for kind, profile, against in zip(KINDS, profiles, self._against, strict=True):
                columns[kind].append(deviation(profile, against[: len(counts), list(layers)]))
        return {kind: np.stack(column, axis=1) for kind, column in columns.items()}

    def null(self, layers: tuple[int, ...]) -> dict[Outcome, float]:
        """95th percentile of the deviation between two ID samples of the same size."""
        pool, seed = self._pool.take(layers=layers), self._job.config.seed
        profiles = zip(KINDS, (pool.norm_profile, pool.distance_profile), strict=True)
        return {
            kind: float(np.percentile(split_halves(deviating(made), self.size, seed), 95)) for kind, made in profiles
        }
