"""The whole plan space: every plan of drops scored, the oracle, what greedy misses, and realignment against gain."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import Self

import numpy as np

from tapioca.commands import save_result
from tapioca.commands.enumerate.config import EnumerateConfig
from tapioca.commands.enumerate.realign import DRAWS, PlanRealignments, realign_all_plans
from tapioca.commands.enumerate.result import EnumerateResult, PlanInSpace, RankedPlan, SizeOfSpace
from tapioca.engine.sweep import Schedule
from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.progress import SILENT, Progress
from tapioca.records import Scores
from tapioca.records.results import Domain
from tapioca.search.base import Picks, Search, SearchSpace, rank_plans
from tapioca.search.population import MAX_LAYERS, list_all_plans
from tapioca.search.stepwise import greedy
from tapioca.session.context import AnyRun, RunInputs, open_run
from tapioca.session.held_out import HeldOutScores
from tapioca.session.preflight import run_preflight
from tapioca.session.scorers import allowed_state_bytes

MOST_PLANS = 2**MAX_LAYERS
"""As many plans as a model of so many layers has."""


def enumerate_plans(
    config: EnumerateConfig, progress: Progress = SILENT, inputs: RunInputs | None = None
) -> EnumerateResult:
    """Evaluate every plan that drops whole layers; the search split chooses, the test splits judge."""
    with open_run(config, progress, inputs) as job:
        job.space = restrict_to_enumerable(job.space, config.max_drops)
        # all plans run in one sweep and never again: nothing is kept for later, and the room goes to their streams
        job.schedule = Schedule(config.plan_batching, allowed_state_bytes(config, job.loaded), None)
        checks = run_preflight(job)
        scores = PlanScores.evaluate(job, {size: list_all_plans(job.space, size) for size in job.space.sizes})
        realigned = realign_all_plans(job, scores.plans)
        info = EnumerateResult(
            **job.header(),
            metric=job.metric,
            n_layers=job.n_layers,
            checks=checks,
            sample=realigned.sample if realigned else 0,
            sizes=tuple(scores.summarize_size(size, realigned) for size in job.space.sizes),
            plans=scores.list_plans(realigned),
        )
        save_result("enumerate", info)
    return info


def restrict_to_enumerable(space: SearchSpace, max_drops: int | None) -> SearchSpace:
    """The space with the numbers of drops to go through.

    Raises:
        UsageError: no layer can be dropped, or there are too many plans.
    """
    layers = len(space.droppable)
    most = min(max_drops or layers, layers, space.n_layers - 1)
    if not most:
        raise UsageError("no whole layer of this model can be dropped, so there are no plans to evaluate")
    counts = [sum(comb(layers, size) for size in range(1, top + 1)) for top in range(1, most + 1)]
    if counts[-1] > MOST_PLANS:
        fitting = max((n_drops for n_drops, count in enumerate(counts, 1) if count <= MOST_PLANS), default=0)
        advice = "use tapioca compare, whose criteria try few of them"
        if fitting:
            advice = f"use --max-drops {fitting} ({counts[fitting - 1]:,} plans)"
        raise UsageError(
            f"up to {most} drops of {layers} layers are {counts[-1]:,} plans, expected at most {MOST_PLANS:,} "
            f"(all of a model of {MAX_LAYERS} layers); {advice}"
        )
    return replace(space, sizes=tuple(range(1, most + 1)))


@dataclass(frozen=True, eq=False)
class PlanScores:
    """Every plan's scores on the search and the test splits, and what follows from them.

    Attributes:
        by_size: all plans by their number of drops.
        means: mean scores on the search split, by plan.
        search, test: of the full model and of every plan, on the OOD search split and on the test splits.
        gains: on each test split, (1 + draw, plan); resampled on OOD data alone.
    """

    job: AnyRun
    by_size: dict[int, tuple[Plan, ...]]
    search: Scores
    means: dict[Plan, float]
    test: HeldOutScores
    gains: dict[Domain, np.ndarray]

    @classmethod
    def evaluate(cls, job: AnyRun, by_size: dict[int, tuple[Plan, ...]]) -> Self:
        """Score all plans, each split in one sweep."""
        plans = [Plan.full(job.n_layers), *(plan for same_size in by_size.values() for plan in same_size)]
        search = job.evaluate(job.search["ood"], plans, f"{len(plans)} plans on OOD search data")
        means = np.average(search.values, axis=1, weights=job.search["ood"].weights)
        test = HeldOutScores.evaluate(job, {"ood": plans, "id": plans})
        gains = {domain: _resample_gains(test, domain) for domain in job.test}
        return cls(job, by_size, search, dict(zip(plans, means, strict=True)), test, gains)

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """All of them, the full model left out."""
        return tuple(plan for plans in self.by_size.values() for plan in plans)

    @cached_property
    def plan_positions(self) -> dict[Plan, int]:
        """Where each plan stands among `plans`."""
        return {plan: index for index, plan in enumerate(self.plans)}

    @cached_property
    def greedy(self) -> Picks:
        """Where greedy goes, told the scores that are known already."""
        search = Search(greedy(), self.job.space)
        while question := search.ask():
            search.tell([self.means[plan] for plan in question.plans])
        return search.picks

    def summarize_size(self, size: int, realigned: PlanRealignments | None) -> SizeOfSpace:
        """All plans of one size."""
        plans, greedy, search = self.by_size[size], self.greedy[size], self.job.search["ood"]
        oracle = rank_plans(plans, [self.means[plan] for plan in plans])[0]
        indices = [self.plan_positions[plan] for plan in plans]
        gains = self.gains["ood"][:, indices]
        low, high = self.search.values_of(greedy), self.search.values_of(oracle)
        return SizeOfSpace(
            drops=size,
            plans=len(plans),
            oracle=self._rank_plan(oracle, gains[0]),
            greedy=self._rank_plan(greedy, gains[0]),
            regret_search=search.pairing(self.job.config.seed).effect(low, high),
            regret=self.test.measure_gain("ood", greedy, oracle),
            gain_quantiles=np.percentile(gains[0], [0, 25, 50, 75, 100]).tolist(),
            improving=float((gains[0] > 0).mean()),
            correlations=realigned.correlate_with_gains(plans, indices, gains) if realigned else (),
        )

    def list_plans(self, realigned: PlanRealignments | None) -> tuple[PlanInSpace, ...]:
        """One record for each plan."""
        return tuple(
            PlanInSpace(
                drops=plan.drops,
                search=self.means[plan],
                **{domain: gains[0, index] for domain, gains in self.gains.items()},
                **(realigned.realignment_of_plan(index) if realigned else {}),
            )
            for plan, index in self.plan_positions.items()
        )

    def _rank_plan(self, plan: Plan, gains: np.ndarray) -> RankedPlan:
        """A plan's place among the gains of its size."""
        full, gain = Plan.full(plan.n_layers), self.gains["ood"][0, self.plan_positions[plan]]
        reference = self.test.measure_gain("id", full, plan) if "id" in self.job.test else None
        better = int((gains > gain).sum())
        return RankedPlan(plan=plan, ood=self.test.measure_gain("ood", full, plan), id=reference, better=better)


def _resample_gains(test: HeldOutScores, domain: Domain) -> np.ndarray:
    """Test gains of every plan, and resampled ones for OOD data, (1 + draw, plan)."""
    full_scores, *plan_scores = test.by_domain[domain].values
    return test.pairing(domain).resample_effects(full_scores, np.array(plan_scores), DRAWS if domain == "ood" else 0)
