"""Is what pruning does to a learner more than answering nearer to 0?

Asked after the study's results were seen, so no claim of its own; said wherever it is used. Answers that are too sure of
themselves get better when they are multiplied by a number below 1, and a model with fewer layers may do no more than
that. So each model's answers, with and without the layers of greedy's plan, are multiplied by the number that is best on
the search prompts, and judged on the test prompts like the plans themselves.

    python studies/shrinkage.py studies/claims.yaml runs/claims --out studies/results/claims/shrinkage.json

The second folder is that of a finished `tapioca lab study`; its models run again on the same prompts, under two plans each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tapioca.disk import write_json
from tapioca.flows.study.bench import Bench
from tapioca.flows.study.part import Part
from tapioca.flows.study.run import read_study
from tapioca.lab.study.cell import Cell
from tapioca.lab.study.gains import Plans, choose
from tapioca.lab.study.pool import resample
from tapioca.models.edit import apply
from tapioca.records import Plan
from tapioca.records.study import StudyFile
from tapioca.stats import resampled_interval
from tapioca.tasks.base import Task

SETTING = "polynomials"
MEASURES = {
    "pruned": "gain of greedy's plan",
    "scaled": "gain of scaling the full model's answers",
    "beyond": "gain of greedy's plan where both are scaled",
    "factor": "what the full model's answers are scaled by",
}


def answers(bench: Bench, task: Task, plan: Plan | None) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and right answers of the scored points of a task, (prompt, point) each."""
    rows = [example.rows[0] for example in task.examples]
    inputs = torch.from_numpy(np.stack([row.inputs for row in rows]))
    targets = np.array([row.targets for row in rows])
    model = bench.loaded.model
    with torch.inference_mode(), apply(model, plan) if plan else nullcontext():
        outputs = model(inputs).logits[:, ::2, 0].double().numpy()
    return outputs[:, -targets.shape[1] :], targets


def factor(predicted: np.ndarray, right: np.ndarray) -> float:
    """The number that predictions are best multiplied by, in squared error."""
    return float((predicted * right).sum() / (predicted**2).sum())


def error(predicted: np.ndarray, right: np.ndarray) -> float:
    """Mean squared error."""
    return float(((predicted - right) ** 2).mean())


def measured(bench: Bench, at: tuple[str, int], cell: Cell) -> dict[str, float]:
    """The measures on one task."""
    plans = Plans(cell.kept)
    chosen = plans.plans[choose(plans, cell).best]
    found: dict[Plan | None, tuple[float, float, float]] = {}
    for plan in (None, chosen):
        search, test = (answers(bench, task, plan) for task in bench.tasks[at])
        by = factor(*search)
        found[plan] = (error(*test), error(by * test[0], test[1]), by)
    (full, full_scaled, by), (pruned, pruned_scaled, _) = found[None], found[chosen]
    expected = -np.average(cell.test[0], weights=cell.weights)
    if not np.isclose(full, expected, rtol=1e-4):
        raise SystemExit(
            f"{cell.where.model} on {cell.where.task}: error {full:.6g}, expected the study's {expected:.6g}"
        )
    return {
        "pruned": np.log(full / pruned),
        "scaled": np.log(full / full_scaled),
        "beyond": np.log(full_scaled / pruned_scaled),
        "factor": by,
    }


def parts_of(study: StudyFile, file: Path, folder: Path) -> Iterator[Part]:
    """Every learner that was measured."""
    setting = next(setting for setting in study.settings if setting.name == SETTING)
    for place in range(len(setting.models)):
        part = Part(study, setting, place, file.parent, folder)
        if not part.missing and all(path.is_file() for path in part.files):
            yield part


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    said = parser.parse_args()
    study = read_study(said.study)
    parts = list(parts_of(study, said.study, said.folder))
    if not parts:
        raise SystemExit(f"{said.folder} holds no learner measured whole; run tapioca lab study {said.study} first")
    shifts, controls = parts[0].setting.shifts, parts[0].setting.controls
    values = {name: np.full((len(parts), len(shifts), max(map(len, shifts.values()))), np.nan) for name in MEASURES}
    for row, part in enumerate(track(parts, "learners", console=Console(stderr=True))):
        bench = part.bench()
        for column, kind in enumerate(shifts):
            for strength in range(len(shifts[kind])):
                cell = Cell.load(part.folder / f"{kind}-{strength}.npz")
                for name, value in measured(bench, (kind, strength), cell).items():
                    values[name][row, column, strength] = value
    found = summary(values, list(shifts), controls, study)
    write_json(said.out, {"models": [part.model.name for part in parts], "measures": MEASURES, "found": found})
    show(found)


def summary(
    values: dict[str, np.ndarray], kinds: list[str], controls: tuple[str, ...], study: StudyFile
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Value and interval of every measure, by kind of shift and over all kinds but controls."""
    pooled = [kind for kind in kinds if kind not in controls]
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for group, chosen in {"all": pooled, **{kind: [kind] for kind in kinds}}.items():
        at = [kinds.index(kind) for kind in chosen]
        found[group] = {}
        for name, table in values.items():
            if drawn := resample(table[:, at], None, study.draws, study.seed):
                means = drawn.widened(drawn.mean())
                found[group][name] = (float(means[0]), *resampled_interval(means))
    return found


def show(found: dict[str, dict[str, tuple[float, float, float]]]) -> None:
    """Print the table."""
    table = Table("kind", *MEASURES.values())
    for kind, row in found.items():
        table.add_row(kind, *(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, low, high in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
