"""Is what pruning does to a model more than making it less sure?

Asked after the study's results were seen, so no claim of its own; said wherever it is used. Where a model is too sure of
itself, its outputs multiplied by a number below 1 do better: answers of a learner nearer to 0, tokens of a language model
at a higher temperature. A model with fewer layers may do no more than that. So outputs, with and without the layers of
greedy's plan, are multiplied by the number that is best on the search prompts, and judged on the test prompts as the plans
themselves are.

    python studies/shrinkage.py studies/claims.yaml runs/claims --out studies/results/claims/shrinkage.json

The folder is that of a finished `tapioca lab study`; its models run again on the same prompts, under two plans each.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
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
from tapioca.lab.study.gains import Plans, choose
from tapioca.lab.study.grid import FEWEST_MODELS
from tapioca.lab.study.pool import resample
from tapioca.models.edit import apply
from tapioca.records import Plan, Row
from tapioca.records.study import Setting, StudyFile
from tapioca.stats import resampled_interval
from tapioca.tasks.base import Task

MEASURES = {
    "pruned": "gain of greedy's plan",
    "scaled": "gain of scaling the full model's outputs",
    "beyond": "gain of greedy's plan where both are scaled",
    "factor": "what the full model's outputs are scaled by",
}
Found = dict[str, dict[str, tuple[float, float, float]]]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model gives on a task under a plan, read off once.

    Attributes:
        task: the task.
        logits: of its rows, those with inputs of one length together, with the positions that are read.
    """

    task: Task
    logits: list[tuple[list[Row], torch.Tensor]]

    @classmethod
    def of(cls, bench: Bench, task: Task, plan: Plan | None) -> Outputs:
        """Run the model, as it is or under a plan."""
        together: dict[int, list[Row]] = {}
        for row in (row for example in task.examples for row in example.rows):
            together.setdefault(len(row.inputs), []).append(row)
        model, found = bench.loaded.model, []
        with torch.inference_mode(), apply(model, plan) if plan else nullcontext():
            for rows in together.values():
                inputs = torch.from_numpy(np.stack([row.inputs for row in rows]))
                found.append((rows, model(inputs).logits[:, -task.keep(rows) :].float()))
        return cls(task, found)

    def error(self, scale: float = 1.0) -> float:
        """Mean error where every output is multiplied by a number."""
        readings: dict[int, np.ndarray] = {}
        for rows, logits in self.logits:
            read = self.task.read(scale * logits, rows)
            readings |= {id(row): reading for row, reading in zip(rows, read, strict=True)}
        scores = [
            self.task.mark(example, [readings[id(row)] for row in example.rows]).score for example in self.task.examples
        ]
        return -float(np.average(scores, weights=self.task.weights))


def measured(bench: Bench, at: tuple[str, int], cell: Cell) -> dict[str, float]:
    """The measures on one task."""
    plans = Plans(cell.kept)
    chosen = plans.plans[choose(plans, cell).best]
    found = []
    for plan in (None, chosen):
        search, test = (Outputs.of(bench, task, plan) for task in bench.tasks[at])
        scale = float(minimize_scalar(search.error, bracket=(0.5, 1.0)).x)
        found.append((test.error(), test.error(scale), scale))
    (full, full_scaled, scale), (pruned, pruned_scaled, _) = found
    expected = -np.average(cell.test[0], weights=cell.weights)
    if not np.isclose(full, expected, rtol=1e-3):
        raise SystemExit(f"{cell.where.model} on {cell.where.task}: error {full:.6g}, the study has {expected:.6g}")
    gains = {"pruned": full / pruned, "scaled": full / full_scaled, "beyond": full_scaled / pruned_scaled}
    return {**{name: float(np.log(ratio)) for name, ratio in gains.items()}, "factor": scale}


def table_of(study: StudyFile, setting: Setting, parts: list[Part], progress: Console) -> dict[str, np.ndarray]:
    """Every measure, (model, kind, strength), NaN where there is none."""
    sizes = len(parts), len(setting.shifts), max(map(len, setting.shifts.values()))
    values = {name: np.full(sizes, np.nan) for name in MEASURES}
    for row, part in enumerate(track(parts, setting.name, console=progress)):
        bench = part.bench()
        for column, kind in enumerate(setting.shifts):
            for strength in range(len(setting.shifts[kind])):
                cell = Cell.load(part.folder / f"{kind}-{strength}.npz")
                for name, value in measured(bench, (kind, strength), cell).items():
                    values[name][row, column, strength] = value
    return values


def summary(values: dict[str, np.ndarray], kinds: list[str], controls: tuple[str, ...], study: StudyFile) -> Found:
    """Value and interval of every measure, over all kinds but controls and by kind."""
    pooled = [kind for kind in kinds if kind not in controls]
    found: Found = {}
    for group, chosen in {"all": pooled, **{kind: [kind] for kind in kinds}}.items():
        at = [kinds.index(kind) for kind in chosen]
        found[group] = {}
        for name, table in values.items():
            if drawn := resample(table[:, at], None, study.draws, study.seed):
                means = drawn.widened(drawn.mean())
                found[group][name] = (float(means[0]), *resampled_interval(means))
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
            print(f"{setting.name}: {len(parts)} models measured whole, expected at least {FEWEST_MODELS}; left out")
            continue
        values = table_of(study, setting, parts, Console(stderr=True))
        found = summary(values, list(setting.shifts), setting.controls, study)
        written[setting.name] = {"models": [part.model.name for part in parts], "found": found}
        show(setting.name, found)
    write_json(said.out, written)


def show(setting: str, found: Found) -> None:
    """Print a setting's table."""
    table = Table(setting, *MEASURES.values())
    for kind, row in found.items():
        table.add_row(kind, *(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, low, high in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
