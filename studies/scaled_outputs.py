"""Does pruning do more than one number that all outputs are multiplied by?

Asked after the study's results were seen, so no claim of its own; said wherever it is used. A learner that answers too far
from 0, or a language model too sure of its tokens, does better when its outputs are multiplied by a number below 1 (a higher
temperature), one that is not sure enough by a number above 1. So outputs are multiplied by the number that is best on the search
prompts, and judged on the test prompts as the plans themselves are. TALE's search runs again, with the best number for every
plan it tries: what its plan then adds to the number is what dropping layers does that a number does not.

    python studies/scaled_outputs.py studies/claims.yaml runs/claims --out studies/results/claims/scaled_outputs.json

The folder is that of a finished `tapioca lab study`; its models run again on the same prompts.
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
from rich.table import Table
from scipy.optimize import minimize_scalar

from tapioca.disk import write_json
from tapioca.flows.study.bench import Bench
from tapioca.flows.study.part import Part
from tapioca.flows.study.run import read_study
from tapioca.lab.study.cell import Cell
from tapioca.lab.study.gains import ERROR, Plans, choose, log_gains
from tapioca.lab.study.grid import FEWEST_MODELS
from tapioca.lab.study.pool import resample
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, forward
from tapioca.records import Plan, Trial
from tapioca.records.study import Setting, StudyFile
from tapioca.search.greedy import Greedy
from tapioca.stats import resampled_interval
from tapioca.tasks.base import Task

MEASURES = {
    "pruned": "gain of greedy's plan",
    "scaled": "gain of scaling the full model's outputs",
    "beyond": "what a plan adds to that, searched and judged with scaled outputs",
    "factor": "what the full model's outputs are scaled by",
    "nearer": "by how much that is nearer to 1 under greedy's plan",
}
MOST = 100.0
"""Numbers further from 0 mean that the search prompts have no best one."""
Found = dict[str, dict[str, tuple[float, float, float]]]


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
    def of(cls, bench: Bench, task: Task, plan: Plan) -> Outputs:
        """Run the model under a plan."""
        rows, model = [row for example in task.examples for row in example.rows], bench.loaded.model
        with apply(model, plan):
            return cls(task, forward(model, collate(model, [row.inputs for row in rows]), task.keep(rows)))

    def scores(self, scale: float = 1.0) -> np.ndarray:
        """Score of every example where all outputs are multiplied by a number, (example,)."""
        rows = [row for example in self.task.examples for row in example.rows]
        read = iter(self.task.read(scale * self.logits, rows))
        marks = (self.task.mark(example, [next(read) for _ in example.rows]) for example in self.task.examples)
        return np.array([mark.score for mark in marks])

    def error(self, scale: float = 1.0) -> float:
        """Their mean, negated."""
        return -float(np.average(self.scores(scale), weights=self.task.weights))


def measured(bench: Bench, cell: Cell, draws: int) -> dict[str, np.ndarray]:
    """The measures on one task: the value, and for gains those of resampled prompts, (1 + draws,)."""
    at, plans = (cell.where.kind, cell.where.strength), Plans(cell.kept)
    (search, test), best = bench.tasks[at], choose(plans, cell).best
    found, scales = searched(bench, search)
    full, greedy = plans.plans[0], plans.plans[best]
    if greedy not in scales:
        scales[greedy] = best_scale(Outputs.of(bench, search, greedy))
    tests = {plan: Outputs.of(bench, test, plan) for plan in (full, greedy, found)}
    rows = [tests[full].scores(), tests[greedy].scores()]
    if not np.allclose(rows, cell.test[[0, best]], rtol=1e-3, atol=1e-5):
        raise SystemExit(f"{cell.where.model} on {cell.where.task} scores otherwise than in the study; run it again")
    rows += [tests[plan].scores(scales[plan]) for plan in (full, found)]
    logs = log_gains(np.stack(rows), cell.weights, cell.groups, 0, draws, bench.study.seed)
    logs[1:] += logs[0] - logs[1:].mean(axis=0)  # as in the study: resamples lie around the value they belong to
    return {
        "pruned": logs[:, 1],
        "scaled": logs[:, 2],
        "beyond": logs[:, 3] - logs[:, 2],
        "factor": np.array([scales[full]]),
        "nearer": np.array([abs(scales[full] - 1) - abs(scales[greedy] - 1)]),
    }


def searched(bench: Bench, task: Task) -> tuple[Plan, dict[Plan, float]]:
    """Greedy's plan on search prompts, outputs of every plan scaled as is best for them; and the number of each it tried."""
    search = Greedy(bench.space.n_layers, ERROR, droppable=bench.space.droppable)
    scales: dict[Plan, float] = {}
    while asked := search.ask():
        outputs = {plan: Outputs.of(bench, task, plan) for plan in asked}
        scales |= {plan: best_scale(found) for plan, found in outputs.items()}
        scores = {plan: -found.error(scales[plan]) for plan, found in outputs.items()}
        search.tell([Trial(plan=plan, score=score, likelihood=score) for plan, score in scores.items()])
    return search.best.plan, scales


def best_scale(search: Outputs) -> float:
    """The number that the outputs on search prompts are best multiplied by; errors here are convex in it."""
    found = minimize_scalar(search.error, bracket=(0.5, 1.0))
    if not found.success or not abs(found.x) < MOST:
        raise SystemExit(f"{search.task.name}: no number is best for a plan's outputs, got {found.x:g}")
    return float(found.x)


def measure_all(study: StudyFile, setting: Setting, parts: list[Part], progress: Console) -> dict[str, np.ndarray]:
    """Every measure, (model, kind, strength, 1 or 1 + draws), NaN where there is none."""
    sizes = len(parts), len(setting.shifts), max(map(len, setting.shifts.values()))
    values: dict[str, np.ndarray] = {}
    for row, part in enumerate(track(parts, setting.name, console=progress)):
        bench = part.bench()
        for column, kind in enumerate(setting.shifts):
            for strength in range(len(setting.shifts[kind])):
                cell = Cell.load(part.cell_file((kind, strength)))
                for name, found in measured(bench, cell, study.draws).items():
                    table = values.setdefault(name, np.full((*sizes, len(found)), np.nan))
                    table[row, column, strength] = found
    return values


def summary(tables: dict[str, np.ndarray], kinds: list[str], controls: tuple[str, ...], study: StudyFile) -> Found:
    """Value and interval of every measure, over all kinds but controls and by kind."""
    pooled = [kind for kind in kinds if kind not in controls]
    found: Found = {}
    for group, chosen in {"all": pooled, **{kind: [kind] for kind in kinds}}.items():
        at = [kinds.index(kind) for kind in chosen]
        found[group] = {}
        for name, table in tables.items():
            values, prompts = table[:, at, :, 0:1].squeeze(-1), table[:, at, :, 1:]
            if drawn := resample(values, prompts if prompts.size else None, study.draws, study.seed):
                means = drawn.widened(drawn.mean())
                found[group][name] = (float(means[0]), *resampled_interval(means[np.isfinite(means)]))
    return found


def main() -> None:
    """Measure, print and write, for every setting with models enough."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    said = parser.parse_args()
    study, written = read_study(said.study), dict[str, Any](measures=MEASURES)
    for setting in study.settings:
        parts = [Part(study, setting, place, said.study.parent, said.folder) for place in range(len(setting.models))]
        parts = [part for part in parts if not part.missing and all(path.is_file() for path in part.files)]
        if len(parts) < FEWEST_MODELS:
            print(f"{setting.name}: models measured whole {len(parts)}, expected at least {FEWEST_MODELS}; left out")
            continue
        tables = measure_all(study, setting, parts, Console(stderr=True))
        found = summary(tables, list(setting.shifts), setting.controls, study)
        written[setting.name] = {"models": [part.model.name for part in parts], "found": found}
        show(setting.name, found)
    print("\n".join(f"{name}: {meaning}" for name, meaning in MEASURES.items()))
    write_json(said.out, written)


def show(setting: str, found: Found) -> None:
    """Print a setting's table."""
    table = Table("", *MEASURES, title=setting)
    for kind, row in found.items():
        table.add_row(kind, *(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, low, high in row.values()))
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
