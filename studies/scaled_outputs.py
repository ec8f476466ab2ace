"""Does pruning do more than one number that all outputs are multiplied by?

Asked after the study's results were seen, so no claim of its own; said wherever it is used. A learner that answers too far
from 0, or a language model too sure of its tokens, does better when its outputs are multiplied by a number below 1 (a higher
temperature), one that is not sure enough by a number above 1; one that answers the opposite of what is right, by a number below 0.
So outputs are multiplied by the number that is best on the search prompts, and judged on the test prompts as the plans
themselves are.

What is left of pruning is measured twice, as the log ratio over the full model with its outputs scaled. Greedy's plan, its outputs
scaled too, shows what is left of the study's own plans; that is unfair to pruning, since they were chosen on outputs as they are.
So TALE's search runs again with the best number for every plan it tries; that is another plan with another number.

    python studies/scaled_outputs.py studies/claims.yaml runs/claims --out studies/results/claims/scaled_outputs.json

The folder is that of a finished `tapioca study`; its models run again on the same prompts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from scipy.optimize import minimize_scalar

from tapioca.disk import write_json
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, run_forward
from tapioca.plan import Plan
from tapioca.records import Trial
from tapioca.report.tables import TableBlock, print_block
from tapioca.search.floor import FlooredSearch
from tapioca.search.stepwise import greedy
from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.log_ratios import PlanSet, log_ratios_from_scores, search_cell
from tapioca.studies.analyse.numbers import StatTable, statistic_from_values
from tapioca.studies.cell import ERROR_METRIC, Cell
from tapioca.studies.measure.model import StudyModel
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.measures import LOG_RATIO, Unit
from tapioca.studies.page.text import format_interval_in_unit
from tapioca.studies.read import read_study
from tapioca.studies.results import Finding
from tapioca.studies.spec import Setting, StudyFile
from tapioca.tasks.base import Task

SCALED_MEASURES: dict[str, tuple[str, Unit]] = {
    "pruned": ("log ratio of greedy's plan", LOG_RATIO),
    "scaled": ("log ratio of scaling the full model's outputs", LOG_RATIO),
    "ahead": ("log ratio of scaling less that of greedy's plan", LOG_RATIO),
    "both": ("what greedy's plan, its outputs scaled too, adds to scaling", LOG_RATIO),
    "joint": ("what a plan searched with scaled outputs adds to scaling", LOG_RATIO),
    "above_1": ("how far the number is above 1 that the full model's outputs are scaled by", "share"),
}
MAX_SCALE = 100.0
"""Numbers further from 0 mean that the search prompts have no best one."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model gives on a task under a plan, read off once.

    Attributes:
        task: the task.
        logits: of all its rows, (row, position, output), with the positions that are read.
    """

    task: Task
    logits: torch.Tensor

    @classmethod
    def run(cls, bench: StudyModel, task: Task, plan: Plan) -> Outputs:
        """Run the model under a plan."""
        rows, model = [row for example in task.examples for row in example.rows], bench.loaded.model
        with apply(model, plan):
            return cls(
                task, run_forward(model, collate(model, [row.inputs for row in rows]), task.logits_to_keep(rows))
            )

    def scores(self, scale: float = 1.0) -> np.ndarray:
        """Score of every example where all outputs are multiplied by a number, (example,)."""
        rows = [row for example in self.task.examples for row in example.rows]
        read = iter(self.task.extract(scale * self.logits, rows))
        marks = (self.task.score(example, [next(read) for _ in example.rows]) for example in self.task.examples)
        return np.array([mark.score for mark in marks])

    def error(self, scale: float = 1.0) -> float:
        """Their mean, negated."""
        return -float(np.average(self.scores(scale), weights=self.task.weights))


def measure_task(bench: StudyModel, cell: Cell, draws: int) -> dict[str, np.ndarray]:
    """The measures on one task: the value, and for log ratios those of resampled prompts, (1 + draws,)."""
    task_key, plans = (cell.where.kind, cell.where.strength), PlanSet(cell.kept)
    (search, test), best = bench.tasks[task_key], search_cell(plans, cell).best
    joint, scales = search_scaled_plan(bench, search)
    full, greedy = plans.plans[0], plans.plans[best]
    if greedy not in scales:
        scales[greedy] = find_best_scale(Outputs.run(bench, search, greedy))
    tests = {plan: Outputs.run(bench, test, plan) for plan in (full, greedy, joint)}
    as_they_are = [tests[plan].scores() for plan in (full, greedy)]
    if not np.allclose(as_they_are, cell.test[[0, best]], rtol=1e-3, atol=1e-5):
        raise SystemExit(f"{cell.where.model} on {cell.where.task} scores otherwise than in the study; run it again")
    scaled = [tests[plan].scores(scales[plan]) for plan in (full, greedy, joint)]
    ratios = log_ratios_from_scores(np.stack(as_they_are + scaled), cell.pairing(bench.study.seed), 0, draws)
    _, by_greedy, by_number, by_both, by_joint = ratios.T
    return {
        "pruned": by_greedy,
        "scaled": by_number,
        "ahead": by_number - by_greedy,
        "both": by_both - by_number,
        "joint": by_joint - by_number,
        "above_1": np.array([scales[full] - 1]),
    }


def search_scaled_plan(bench: StudyModel, task: Task) -> tuple[Plan, dict[Plan, float]]:
    """Greedy's plan on search prompts, outputs of every plan scaled as is best for them; and the number of each it tried."""
    search = FlooredSearch(greedy(), bench.space, ERROR_METRIC)
    scales: dict[Plan, float] = {}
    while plans := search.ask():
        outputs_by_plan = {plan: Outputs.run(bench, task, plan) for plan in plans}
        scales |= {plan: find_best_scale(outputs) for plan, outputs in outputs_by_plan.items()}
        scores = {plan: -outputs.error(scales[plan]) for plan, outputs in outputs_by_plan.items()}
        search.tell([Trial(plan=plan, score=score, log_likelihood=score) for plan, score in scores.items()])
    return search.best.plan, scales


def find_best_scale(search: Outputs) -> float:
    """The number that the outputs on search prompts are best multiplied by; errors here are convex in it."""
    optimum = minimize_scalar(search.error, bracket=(0.5, 1.0))
    if not optimum.success or not abs(optimum.x) < MAX_SCALE:
        raise SystemExit(f"{search.task.name}: no number is best for a plan's outputs, got {optimum.x:g}")
    return float(optimum.x)


def measure_all(study: StudyFile, setting: Setting, parts: list[ModelWork], progress: Console) -> dict[str, StatTable]:
    """Every measure of every cell."""
    tables: dict[str, StatTable] = {name: {} for name in SCALED_MEASURES}
    for part in track(parts, setting.name, console=progress):
        bench = part.load_study_model()
        for column, (kind, tasks) in enumerate(setting.shifts.items()):
            for strength in range(len(tasks)):
                cell = Cell.load(part.cell_file((kind, strength)))
                for name, rows in measure_task(bench, cell, study.n_resamples).items():
                    tables[name][part.place, column, strength] = statistic_from_values(rows, cell.test.shape[1])
    return tables


def summarise_tables(study: StudyFile, setting: Setting, tables: dict[str, StatTable]) -> dict[str, Finding]:
    """Every measure over models and kinds, as the study's own are."""
    axes = SettingAxes(study, setting)
    return {
        name: Measure(SCALED_MEASURES[name][0], SCALED_MEASURES[name][1], axes, table, decides=False).to_finding()
        for name, table in tables.items()
    }


def main() -> None:
    """Measure, print and write, for every setting with models enough."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    study, written = read_study(arguments.study), dict[str, Any]()
    for setting in study.settings:
        parts = [
            ModelWork(study, setting, place, arguments.study.parent, arguments.folder)
            for place in range(len(setting.models))
        ]
        parts = [part for part in parts if not part.missing and all(path.is_file() for path in part.files)]
        if len(parts) < study.min_models:
            print(f"{setting.name}: models measured whole {len(parts)}, expected at least {study.min_models}; left out")
            continue
        finding_by_name = summarise_tables(study, setting, measure_all(study, setting, parts, Console(stderr=True)))
        dumped = {
            name: finding.model_dump(mode="json", exclude={"kind_sizes"}) for name, finding in finding_by_name.items()
        }
        written[setting.name] = {"models": [part.model.name for part in parts], "found": dumped}
        print_findings(setting.name, finding_by_name)
    print("\n".join(f"{name}: {meaning}" for name, (meaning, _) in SCALED_MEASURES.items()))
    print("p: after Holm's correction over kinds")
    write_json(arguments.out, written)


def print_findings(setting: str, finding_by_name: dict[str, Finding]) -> None:
    """Print a setting's table: a row for the mean of all kinds but controls, one for each kind."""
    findings = list(finding_by_name.values())
    pooled = [finding.pooled and format_interval_in_unit(finding.pooled, finding.unit) for finding in findings]
    lines = [("all", *(text or "" for text in pooled))]
    for rows in zip(*((*finding.kinds, *finding.controls) for finding in findings), strict=True):
        texts = [
            format_interval_in_unit(row.value, finding.unit) + ("" if row.p_holm is None else f", p {row.p_holm:.2g}")
            for row, finding in zip(rows, findings, strict=True)
        ]
        lines.append((rows[0].kind, *texts))
    print_block(Console(width=240), TableBlock("", (setting, *finding_by_name), tuple(lines)))


if __name__ == "__main__":
    main()
