"""The comparison: several criteria choose plans from the same data, and held-out data judge them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.flows.check import check, refuse_at_chance
from tapioca.flows.criteria import Chooser, stand_ins
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import Job, prepare
from tapioca.flows.space import named, usable
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.cost import flops
from tapioca.models.inputs import collate
from tapioca.models.load import Loaded
from tapioca.records import CompareConfig, CompareInfo, Gain, Pick, Plan, Scores
from tapioca.records.results import Data
from tapioca.report.compare import write_compare_page
from tapioca.search.base import Picks, Space
from tapioca.search.random import random_plans
from tapioca.stats import effect, holm, paired_p
from tapioca.tasks.base import Task


def compare(
    config: CompareConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> CompareInfo:
    """Let each criterion choose a plan for each number of drops on the search split, and judge them on the test split.

    Called again with the same config it goes on where it was.

    Args:
        config: the request.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    chosen, sizes = named(config.criteria), config.sizes  # refused before anything is loaded
    job = prepare(config, watcher or Silent(), loaded, tasks)
    with job.store:
        space = _sized(job, config)
        chosen, notes = usable(chosen, space, config.criteria == "all")
        notes += stand_ins(job, chosen)
        for note in notes:
            job.watcher.say(note)
        checks = check(job)
        refuse_at_chance(job, checks)
        chooser = Chooser(job, space)
        found = {name: chooser.choose(name, criterion) for name, criterion in chosen.items()}
        rivals = {size: random_plans(space, {"layers": size}, config.random_plans) for size in sizes}
        bench = Bench(job, {name: picks for name, (picks, _) in found.items()}, rivals)
        info = CompareInfo(
            folder=job.store.folder,
            command=config.command(),
            model=str(Path(config.model).resolve()) if Path(config.model).is_dir() else config.model,
            model_hash=job.store.manifest["model"],
            task=config.task,
            reference=config.reference,
            metric=job.metric,
            notes=(*job.notes, *notes),
            n_layers=job.n_layers,
            checks=checks,
            searched=tuple(searched for _, searched in found.values()),
            picks=bench.picks(),
            random=bench.random,
        )
        write_compare(info)
    return info


def write_compare(info: CompareInfo) -> None:
    """Write what a comparison found into its folder: compare.json and report.html."""
    write_text(info.folder / "compare.json", info.model_dump_json(indent=2) + "\n")
    write_compare_page(info)


def _sized(job: Job, config: CompareConfig) -> Space:
    """What there is to choose from, for the numbers of drops asked for.

    Raises:
        UsageError: more layers are to be dropped than the model can do without.
    """
    count, most = job.n_layers, job.space.most
    if max(config.sizes) > most:
        raise UsageError(f"--drops {config.drops}: at most {most} of this model's {count} layers can go; use 1:{most}")
    return replace(job.space, sizes=config.sizes)


class Bench:
    """Judges every plan chosen, and random ones, on the test splits.

    Attributes:
        random: OOD gains of the random plans by number of drops.
    """

    def __init__(self, job: Job, picks: dict[str, Picks], rivals: dict[int, tuple[Plan, ...]]):
        self.job, self.chosen = job, picks
        self.full = Plan.full(job.n_layers)
        self.plans = list(dict.fromkeys(plan for found in picks.values() for plan in found.values()))
        extra = [plan for some in rivals.values() for plan in some]
        self.answers = {
            data: self._answers(data, [*self.plans, *(extra if data == "ood" else ())]) for data in job.test
        }
        self.scores = {data: dict(zip(found.plans, found.values, strict=True)) for data, found in self.answers.items()}
        self.gains = {data: self._gains(data) for data in job.test}
        self.p = {data: self._p(data) for data in job.test}
        self.flops = self._flops()
        task, rows = job.test["ood"], self.scores["ood"]
        self.random = {
            size: tuple(effect(rows[self.full], rows[plan], task.weights, task.metric) for plan in some)
            for size, some in rivals.items()
        }

    def picks(self) -> tuple[Pick, ...]:
        """Every plan chosen, by number of drops; the best on OOD test data first."""
        table: dict[tuple[int, Plan], list[str]] = {}
        for name, found in self.chosen.items():
            for size, plan in found.items():
                table.setdefault((size, plan), []).append(name)
        made = [self._pick(size, plan, tuple(names)) for (size, plan), names in table.items()]
        return tuple(sorted(made, key=lambda pick: (pick.drops, -pick.ood.gain)))

    def _pick(self, size: int, plan: Plan, names: tuple[str, ...]) -> Pick:
        gain = self.gains["ood"][plan]
        first = next(iter(self.chosen.values())).get(size)
        return Pick(
            drops=size,
            plan=plan,
            criteria=names,
            flops=self.flops[plan],
            ood=gain,
            p_ood=self.p["ood"][plan],
            id=self.gains["id"][plan] if "id" in self.gains else None,
            p_id=self.p["id"][plan] if "id" in self.p else None,
            rival=None if first in (None, plan) else self._compare("ood", first, plan),
            beaten=sum(gain.gain > other for other in self.random[size]),
            front=self._on_front(plan),
        )

    def _answers(self, data: Data, plans: list[Plan]) -> Scores:
        every = list(dict.fromkeys([self.full, *plans]))
        return self.job.evaluate(self.job.test[data], every, f"{len(every)} plans on {data.upper()} test data")

    def _gains(self, data: Data) -> dict[Plan, Gain]:
        self.job.watcher.stage(f"intervals on {data.upper()} test data", len(self.plans))
        found = {}
        for plan in self.plans:
            found[plan] = self._compare(data, self.full, plan)
            self.job.watcher.advance(1)
        return found

    def _compare(self, data: Data, first: Plan, second: Plan) -> Gain:
        return gain_of(self.job.test[data], self.answers[data], first, second, self.job.config.seed)

    def _p(self, data: Data) -> dict[Plan, float]:
        """p-values against the full model, corrected for all plans judged."""
        task, rows = self.job.test[data], self.scores[data]
        raw = [paired_p(rows[self.full], rows[plan], task.weights, task.groups) for plan in self.plans]
        return dict(zip(self.plans, holm(raw), strict=True))

    def _flops(self) -> dict[Plan, float]:
        """Share of the full model's operations left by each plan, counted on one prompt."""
        model = self.job.loaded.model
        batch = collate(model, [self.job.search["ood"].examples[0].prompt])
        whole = flops(model, self.full, batch)
        return {plan: flops(model, plan, batch) / whole for plan in [self.full, *self.plans]}

    def _on_front(self, plan: Plan) -> bool:
        """Whether no other plan is as good for fewer operations, or better for as few."""
        gains = {self.full: 0.0, **{other: gain.gain for other, gain in self.gains["ood"].items()}}
        mine = self.flops[plan], gains[plan]
        return not any(_dominates((self.flops[other], gain), mine) for other, gain in gains.items())


def _dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether (operations, gain) `first` is nowhere worse than `second` and somewhere better."""
    return first[0] <= second[0] and first[1] >= second[1] and first != second
