"""The comparison: several criteria choose plans from the same data, and held-out data judge them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tapioca.disk import write_text
from tapioca.errors import UsageError
from tapioca.flows.check import refuse_at_chance, run_preflight
from tapioca.flows.criteria import CriteriaRunner, equivalent_criteria
from tapioca.flows.gains import gain_of
from tapioca.flows.prepare import RunContext, open_run
from tapioca.flows.space import compatible_criteria, criteria_by_name
from tapioca.models.cost import count_flops
from tapioca.models.inputs import collate
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import NullProgress, Progress
from tapioca.records import CompareConfig, CompareInfo, Gain, Pick, Scores
from tapioca.records.results import Domain
from tapioca.report.compare import write_compare_page
from tapioca.search.base import Picks, SearchSpace
from tapioca.search.random import draw_random_plans
from tapioca.stats import correct_holm, measure_effect, paired_p
from tapioca.tasks.base import Task


def compare(
    config: CompareConfig,
    watcher: Progress | None = None,
    loaded: LoadedModel | None = None,
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
    criteria, sizes = criteria_by_name(config.criteria), config.sizes  # refused before anything is loaded
    job = open_run(config, watcher or NullProgress(), loaded, tasks)
    with job.store:
        space = _restrict_to_requested(job, config)
        criteria, notes = compatible_criteria(criteria, space, config.criteria == "all")
        notes += equivalent_criteria(job, criteria)
        for note in notes:
            job.watcher.note(note)
        checks = run_preflight(job)
        refuse_at_chance(job, checks)
        chooser = CriteriaRunner(job, space)
        choices_by_name = {name: chooser.choose(name, criterion) for name, criterion in criteria.items()}
        random_by_size = {size: draw_random_plans(space, {"layers": size}, config.random_plans) for size in sizes}
        bench = HeldOutJudge(job, {name: picks for name, (picks, _) in choices_by_name.items()}, random_by_size)
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
            searched=tuple(searched for _, searched in choices_by_name.values()),
            picks=bench.picks(),
            random=bench.random,
        )
        write_compare(info)
    return info


def write_compare(info: CompareInfo) -> None:
    """Write what a comparison found into its folder: compare.json and report.html."""
    write_text(info.folder / "compare.json", info.model_dump_json(indent=2) + "\n")
    write_compare_page(info)


def _restrict_to_requested(job: RunContext, config: CompareConfig) -> SearchSpace:
    """What there is to choose from, for the numbers of drops asked for.

    Raises:
        UsageError: more layers are to be dropped than the model can do without.
    """
    count, most = job.n_layers, job.space.max_drops
    if max(config.sizes) > most:
        raise UsageError(f"--drops {config.drops}: at most {most} of this model's {count} layers can go; use 1:{most}")
    return replace(job.space, sizes=config.sizes)


class HeldOutJudge:
    """Judges every plan chosen, and random ones, on the test splits.

    Attributes:
        random: OOD gains of the random plans by number of drops.
    """

    def __init__(self, job: RunContext, picks: dict[str, Picks], random_by_size: dict[int, tuple[Plan, ...]]):
        self.job, self.chosen = job, picks
        self.full = Plan.full(job.n_layers)
        self.plans = list(dict.fromkeys(plan for plan_by_size in picks.values() for plan in plan_by_size.values()))
        extra = [plan for plans in random_by_size.values() for plan in plans]
        self.answers = {
            domain: self._answers(domain, [*self.plans, *(extra if domain == "ood" else ())]) for domain in job.test
        }
        self.scores = {
            domain: dict(zip(plan_by_size.plans, plan_by_size.values, strict=True))
            for domain, plan_by_size in self.answers.items()
        }
        self.gains = {domain: self._measure_gains(domain) for domain in job.test}
        self.p = {domain: self._corrected_p_values(domain) for domain in job.test}
        self.flops = self._relative_flops()
        task, rows = job.test["ood"], self.scores["ood"]
        self.random = {
            size: tuple(measure_effect(rows[self.full], rows[plan], task.weights, task.metric) for plan in plans)
            for size, plans in random_by_size.items()
        }

    def picks(self) -> tuple[Pick, ...]:
        """Every plan chosen, by number of drops; the best on OOD test data first."""
        table: dict[tuple[int, Plan], list[str]] = {}
        for name, plan_by_size in self.chosen.items():
            for size, plan in plan_by_size.items():
                table.setdefault((size, plan), []).append(name)
        picks = [self._pick(size, plan, tuple(names)) for (size, plan), names in table.items()]
        return tuple(sorted(picks, key=lambda pick: (pick.drops, -pick.ood.gain)))

    def _pick(self, size: int, plan: Plan, names: tuple[str, ...]) -> Pick:
        gain = self.gains["ood"][plan]
        first_plan = next(iter(self.chosen.values())).get(size)
        return Pick(
            drops=size,
            plan=plan,
            criteria=names,
            flops=self.flops[plan],
            ood=gain,
            p_ood=self.p["ood"][plan],
            id=self.gains["id"][plan] if "id" in self.gains else None,
            p_id=self.p["id"][plan] if "id" in self.p else None,
            rival=None if first_plan in (None, plan) else self._compare_plans("ood", first_plan, plan),
            beaten=sum(gain.gain > random_gain for random_gain in self.random[size]),
            front=self._is_on_front(plan),
        )

    def _answers(self, data: Domain, plans: list[Plan]) -> Scores:
        every = list(dict.fromkeys([self.full, *plans]))
        return self.job.evaluate(self.job.test[data], every, f"{len(every)} plans on {data.upper()} test data")

    def _measure_gains(self, domain: Domain) -> dict[Plan, Gain]:
        self.job.watcher.stage(f"intervals on {domain.upper()} test data", len(self.plans))
        gains = {}
        for plan in self.plans:
            gains[plan] = self._compare_plans(domain, self.full, plan)
            self.job.watcher.advance(1)
        return gains

    def _compare_plans(self, domain: Domain, first: Plan, second: Plan) -> Gain:
        return gain_of(self.job.test[domain], self.answers[domain], first, second, self.job.config.seed)

    def _corrected_p_values(self, domain: Domain) -> dict[Plan, float]:
        """p-values against the full model, corrected for all plans judged."""
        task, rows = self.job.test[domain], self.scores[domain]
        p_values = [paired_p(rows[self.full], rows[plan], task.weights, task.groups) for plan in self.plans]
        return dict(zip(self.plans, correct_holm(p_values), strict=True))

    def _relative_flops(self) -> dict[Plan, float]:
        """Share of the full model's operations left by each plan, counted on one prompt."""
        model = self.job.loaded.model
        batch = collate(model, [self.job.search["ood"].examples[0].prompt])
        full_flops = count_flops(model, self.full, batch)
        return {plan: count_flops(model, plan, batch) / full_flops for plan in [self.full, *self.plans]}

    def _is_on_front(self, plan: Plan) -> bool:
        """Whether no other plan is as good for fewer operations, or better for as few."""
        gains = {self.full: 0.0, **{other_plan: gain.gain for other_plan, gain in self.gains["ood"].items()}}
        flops_and_gain = self.flops[plan], gains[plan]
        return not any(_dominates((self.flops[other_plan], gain), flops_and_gain) for other_plan, gain in gains.items())


def _dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether (operations, gain) `first` is nowhere worse than `second` and somewhere better."""
    return first[0] <= second[0] and first[1] >= second[1] and first != second
