"""The whole plan space: every plan of drops scored, the oracle, what greedy misses, and realignment against gain."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np

from tapioca.disk import write_text
from tapioca.engine.sweep import Schedule
from tapioca.errors import UsageError
from tapioca.flows.check import refuse_at_chance, run_preflight
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import RunContext, allowed_state_bytes, open_run
from tapioca.flows.realign import DRAWS, PlanRealignments, realign_all_plans
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import NullProgress, Progress
from tapioca.records import EnumerateConfig, EnumerateInfo, Gain, PlanInSpace, RankedPlan, Scores, SizeOfSpace
from tapioca.records.results import Domain
from tapioca.report.enumerate import write_enumerate_page
from tapioca.search.base import Picks, Search, SearchSpace, rank_plans
from tapioca.search.criteria import TALE
from tapioca.search.population import MAX_LAYERS, list_all_plans
from tapioca.stats import measure_effect, resample_effects
from tapioca.tasks.base import Task

MOST_PLANS = 2**MAX_LAYERS
"""As many plans as a model of so many layers has."""


def enumerate_plans(
    config: EnumerateConfig,
    watcher: Progress | None = None,
    loaded: LoadedModel | None = None,
    tasks: dict[str, Task] | None = None,
) -> EnumerateInfo:
    """Evaluate every plan that drops whole layers; the search split chooses, the test splits judge.

    Called again with the same config it goes on where it was.

    Args:
        config: the request.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    job = open_run(config, watcher or NullProgress(), loaded, tasks)
    with job.store:
        sized_space = restrict_to_enumerable(job.space, config.max_drops)
        # all plans run in one sweep and never again: nothing is kept for later, and the room goes to their streams
        job = replace(
            job,
            space=sized_space,
            schedule=Schedule(config.plan_batching, allowed_state_bytes(config, job.loaded), None),
        )
        checks = run_preflight(job)
        refuse_at_chance(job, checks)
        bench = PlanScores(job, {size: list_all_plans(sized_space, size) for size in sized_space.sizes})
        realigned = realign_all_plans(job, bench.plans)
        info = EnumerateInfo(
            folder=job.store.folder,
            command=config.command(),
            model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
            model_hash=job.store.manifest["model"],
            task=config.task,
            reference=config.reference,
            metric=job.metric,
            notes=job.notes,
            n_layers=job.n_layers,
            checks=checks,
            sample=realigned.sample if realigned else 0,
            sizes=tuple(bench.summarize_size(size, realigned) for size in sized_space.sizes),
            plans=bench.list_plans(realigned),
        )
        write_space(info)
    return info


def write_space(info: EnumerateInfo) -> None:
    """Write what was found into the run's folder: enumerate.json and report.html."""
    write_text(info.folder / "enumerate.json", info.model_dump_json(indent=1) + "\n")
    write_enumerate_page(info)


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
        advice = (
            f"use --max-drops {fitting} ({counts[fitting - 1]:,} plans)"
            if fitting
            else "use tapioca compare, whose criteria try few of them"
        )
        raise UsageError(
            f"up to {most} drops of {layers} layers are {counts[-1]:,} plans, expected at most {MOST_PLANS:,} "
            f"(all of a model of {MAX_LAYERS} layers); {advice}"
        )
    return replace(space, sizes=tuple(range(1, most + 1)))


class PlanScores:
    """Every plan's scores on the search and the test splits, and what follows from them.

    Args:
        job: the run.
        by_size: all plans by their number of drops.
    """

    def __init__(self, job: RunContext, by_size: dict[int, tuple[Plan, ...]]):
        self.job, self.by_size = job, by_size
        self.full = Plan.full(job.n_layers)
        self.plans = tuple(plan for plans in by_size.values() for plan in plans)
        self.plan_positions = {plan: index for index, plan in enumerate(self.plans, 1)}  # the full model comes first
        search = job.search["ood"]
        self.search = self._evaluate_all_plans(search, "OOD search data").values
        self.means = np.average(self.search, axis=1, weights=search.weights)
        self.test = {
            domain: self._evaluate_all_plans(task, f"{domain.upper()} test data") for domain, task in job.test.items()
        }
        self.gains = {domain: self._resample_gains(domain) for domain in self.test}
        self.greedy = self._replay_greedy()

    def summarize_size(self, size: int, realigned: PlanRealignments | None) -> SizeOfSpace:
        """All plans of one size."""
        plans = self.by_size[size]
        oracle = rank_plans(plans, [self.means[self.plan_positions[plan]] for plan in plans])[0]
        greedy = self.greedy[size]
        indices = [self.plan_positions[plan] - 1 for plan in plans]
        gains = self.gains["ood"][:, indices]
        search, (low, high) = (
            self.job.search["ood"],
            (self.search[self.plan_positions[plan]] for plan in (greedy, oracle)),
        )
        return SizeOfSpace(
            drops=size,
            plans=len(plans),
            oracle=self._rank_plan(oracle, gains[0]),
            greedy=self._rank_plan(greedy, gains[0]),
            regret_search=measure_effect(low, high, search.weights, search.metric),
            regret=self._compare_on("ood", greedy, oracle),
            gain_quantiles=np.percentile(gains[0], [0, 25, 50, 75, 100]).tolist(),
            improving=float((gains[0] > 0).mean()),
            correlations=realigned.correlate_with_gains(plans, indices, gains) if realigned else (),
        )

    def list_plans(self, realigned: PlanRealignments | None) -> tuple[PlanInSpace, ...]:
        """One record for each plan."""
        return tuple(
            PlanInSpace(
                drops=plan.drops,
                search=self.means[index + 1],
                **{domain: gains[0, index] for domain, gains in self.gains.items()},
                **(realigned.realignment_of_plan(index) if realigned else {}),
            )
            for index, plan in enumerate(self.plans)
        )

    def _evaluate_all_plans(self, task: Task, where: str) -> Scores:
        """Of the full model and of every plan."""
        return self.job.evaluate(task, [self.full, *self.plans], f"{len(self.plans)} plans on {where}")

    def _resample_gains(self, domain: Domain) -> np.ndarray:
        """Test gains of every plan, and resampled ones for OOD data, (1 + draw, plan)."""
        task, rows, draws = self.job.test[domain], self.test[domain].values, DRAWS if domain == "ood" else 0
        return resample_effects(rows[0], rows[1:], task.weights, task.groups, task.metric, draws, self.job.config.seed)

    def _replay_greedy(self) -> Picks:
        """Where greedy goes, told the scores that are known already."""
        search = Search(TALE.choose(self.job.space))
        while question := search.ask():
            search.tell([self.means[self.plan_positions[plan]] for plan in question.plans])
        return search.picks

    def _rank_plan(self, plan: Plan, gains: np.ndarray) -> RankedPlan:
        gain = self.gains["ood"][0, self.plan_positions[plan] - 1]
        reference = self._compare_on("id", self.full, plan) if "id" in self.test else None
        return RankedPlan(
            plan=plan, ood=self._compare_on("ood", self.full, plan), id=reference, better=int((gains > gain).sum())
        )

    def _compare_on(self, domain: Domain, first: Plan, second: Plan) -> Gain:
        return gain_of(self.job.test[domain], self.test[domain], first, second, self.job.config.seed)
