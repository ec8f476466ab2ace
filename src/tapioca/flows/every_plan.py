"""The whole plan space: every plan of drops scored, the oracle, what greedy misses, and realignment against gain."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.flows.check import check, refuse_at_chance
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import Job, prepare, room
from tapioca.flows.realign import DRAWS, Realigned, realign
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.load import Loaded
from tapioca.models.sweep import Schedule
from tapioca.records import Gain, Placed, Plan, PlanInSpace, Scores, SizeOfSpace, SpaceConfig, SpaceInfo
from tapioca.records.results import Data
from tapioca.report.space import write_space_page
from tapioca.search.base import Picks, Search, Space, ranked
from tapioca.search.criteria import TALE
from tapioca.search.population import MOST_LAYERS, every_plan
from tapioca.stats import effect, effects
from tapioca.tasks.base import Task

MOST_PLANS = 2**MOST_LAYERS
"""As many plans as a model of so many layers has."""


def space(
    config: SpaceConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> SpaceInfo:
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
    job = prepare(config, watcher or Silent(), loaded, tasks)
    with job.store:
        where = sized(job.space, config.max_drops)
        # all plans run in one sweep and never again: nothing is kept for later, and the room goes to their streams
        job = replace(job, space=where, schedule=Schedule(config.streams, room(config, job.loaded), None))
        checks = check(job)
        refuse_at_chance(job, checks)
        bench = Bench(job, {size: every_plan(where, size) for size in where.sizes})
        realigned = realign(job, bench.plans)
        info = SpaceInfo(
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
            sizes=tuple(bench.size(size, realigned) for size in where.sizes),
            plans=bench.entries(realigned),
        )
        write_space(info)
    return info


def write_space(info: SpaceInfo) -> None:
    """Write what was found into the run's folder: space.json and report.html."""
    write_text(info.folder / "space.json", info.model_dump_json(indent=1) + "\n")
    write_space_page(info)


def sized(space: Space, max_drops: int | None) -> Space:
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
        fitting = max((at for at, count in enumerate(counts, 1) if count <= MOST_PLANS), default=0)
        advice = (
            f"use --max-drops {fitting} ({counts[fitting - 1]:,} plans)"
            if fitting
            else "use tapioca compare, whose criteria try few of them"
        )
        raise UsageError(
            f"up to {most} drops of {layers} layers are {counts[-1]:,} plans, expected at most {MOST_PLANS:,} "
            f"(all of a model of {MOST_LAYERS} layers); {advice}"
        )
    return replace(space, sizes=tuple(range(1, most + 1)))


class Bench:
    """Every plan's scores on the search and the test splits, and what follows from them.

    Args:
        job: the run.
        by_size: all plans by their number of drops.
    """

    def __init__(self, job: Job, by_size: dict[int, tuple[Plan, ...]]):
        self.job, self.by_size = job, by_size
        self.full = Plan.full(job.n_layers)
        self.plans = tuple(plan for some in by_size.values() for plan in some)
        self.place = {plan: at for at, plan in enumerate(self.plans, 1)}  # the full model comes first
        search = job.search["ood"]
        self.search = self._scores(search, "OOD search data").values
        self.means = np.average(self.search, axis=1, weights=search.weights)
        self.test = {data: self._scores(task, f"{data.upper()} test data") for data, task in job.test.items()}
        self.gains = {data: self._effects(data) for data in self.test}
        self.greedy = self._greedy()

    def size(self, size: int, realigned: Realigned | None) -> SizeOfSpace:
        """All plans of one size."""
        plans = self.by_size[size]
        oracle = ranked(plans, [self.means[self.place[plan]] for plan in plans])[0]
        greedy = self.greedy[size]
        at = [self.place[plan] - 1 for plan in plans]
        gains = self.gains["ood"][:, at]
        search, (low, high) = self.job.search["ood"], (self.search[self.place[plan]] for plan in (greedy, oracle))
        return SizeOfSpace(
            drops=size,
            plans=len(plans),
            oracle=self._placed(oracle, gains[0]),
            greedy=self._placed(greedy, gains[0]),
            regret_search=effect(low, high, search.weights, search.metric),
            regret=self._compare("ood", greedy, oracle),
            spread=np.percentile(gains[0], [0, 25, 50, 75, 100]).tolist(),
            improving=float((gains[0] > 0).mean()),
            correlations=realigned.correlations(plans, at, gains) if realigned else (),
        )

    def entries(self, realigned: Realigned | None) -> tuple[PlanInSpace, ...]:
        """One record for each plan."""
        return tuple(
            PlanInSpace(
                drops=plan.drops,
                search=self.means[at + 1],
                **{data: gains[0, at] for data, gains in self.gains.items()},
                **(realigned.values(at) if realigned else {}),
            )
            for at, plan in enumerate(self.plans)
        )

    def _scores(self, task: Task, where: str) -> Scores:
        """Of the full model and of every plan."""
        return self.job.evaluate(task, [self.full, *self.plans], f"{len(self.plans)} plans on {where}")

    def _effects(self, data: Data) -> np.ndarray:
        """Test gains of every plan, and resampled ones for OOD data, (1 + draw, plan)."""
        task, rows, draws = self.job.test[data], self.test[data].values, DRAWS if data == "ood" else 0
        return effects(rows[0], rows[1:], task.weights, task.groups, task.metric, draws, self.job.config.seed)

    def _greedy(self) -> Picks:
        """Where greedy goes, told the scores that are known already."""
        search = Search(TALE.choose(self.job.space))
        while question := search.ask():
            search.tell([self.means[self.place[plan]] for plan in question.plans])
        return search.picks

    def _placed(self, plan: Plan, gains: np.ndarray) -> Placed:
        mine = self.gains["ood"][0, self.place[plan] - 1]
        reference = self._compare("id", self.full, plan) if "id" in self.test else None
        return Placed(
            plan=plan, ood=self._compare("ood", self.full, plan), id=reference, better=int((gains > mine).sum())
        )

    def _compare(self, data: Data, first: Plan, second: Plan) -> Gain:
        return gain_of(self.job.test[data], self.test[data], first, second, self.job.config.seed)
