"""The open questions Q1 to Q3 in one setting, and in the lab how models stand to predictors that were never trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from tapioca.lab.baselines import gap_closed, skill
from tapioca.lab.study.cell import Cell
from tapioca.lab.study.claims import BEND, GAIN, Claims
from tapioca.lab.study.gains import LABELS
from tapioca.lab.study.measure import Measure, interval
from tapioca.lab.study.numbers import Numbers
from tapioca.records import TRUTHS, Computed, Estimate, KindSkill, KindSummary, Labelled
from tapioca.records.tree import layers_computed


def summaries(claims: Claims) -> tuple[KindSummary, ...]:
    """Q1 and the counts of Q3, kind by kind."""
    grid, told = claims.numbers.grid, claims.numbers.told
    gain = claims.gain()
    norm, distance = (claims.measure(kind, f"{kind} excess", BEND) for kind in ("norm", "distance"))
    found = []
    for at, kind in enumerate(grid.kinds):
        truths = [one.truth for place, one in told.items() if place[1] == at]
        found.append(
            KindSummary(
                kind=kind,
                control=kind in grid.setting.controls,
                gain=gain.of(kind).pooled(),
                norm=norm.of(kind).pooled(),
                distance=distance.of(kind).pooled(),
                truths={truth: truths.count(truth) for truth in TRUTHS},
            )
        )
    return tuple(found)


def computed(numbers: Numbers) -> tuple[Computed, ...]:
    """Q2: layers computed for one prompt by greedy and for the whole space, means over all searches and models."""
    choices = [*numbers.reference.values(), *numbers.choices.values()]
    if not choices:
        return ()
    spaces = [numbers.plans(model) for model in numbers.reference]
    return (
        _computed("greedy", ((choice.tried, choice.tree, choice.scratch) for choice in choices)),
        _computed(
            "all plans",
            ((len(space.plans), layers_computed(space.plans), float(space.kept.sum())) for space in spaces),
        ),
    )


def _computed(search: Literal["greedy", "all plans"], counts: Iterable[tuple[float, float, float]]) -> Computed:
    plans, tree, scratch = np.mean(list(counts), axis=0).tolist()
    return Computed(search=search, plans=plans, tree=tree, scratch=scratch)


def labels(claims: Claims) -> tuple[Labelled, ...]:
    """Q2: what searches with few labelled prompts bring, beside the search with all."""
    found, every = [], claims.gain().main
    for count in LABELS:
        few = claims.measure(f"gain found with {count} prompts", f"labels {count}", GAIN).main
        if gain := few.estimate():
            found.append(Labelled(prompts=count, gain=gain, share=_share(few, every)))
    return tuple(found)


def _share(few: Measure, every: Measure) -> Estimate | None:
    """One gain as a share of another that lies above 0, of the same resamples of models and kinds."""
    part, whole = few.resampled(), every.resampled()
    if part is None or whole is None or interval(whole[np.isfinite(whole)])[0] <= 0:
        return None
    drawn = (part / np.where(whole > 0, whole, np.nan))[np.isfinite(part) & (whole > 0)]
    return Estimate(value=float(drawn[0]), ci95=interval(drawn))


def skills(numbers: Numbers) -> tuple[KindSkill, ...]:
    """Skill, the gap to ridge and what is tail only, kind by kind; empty outside of the lab."""
    found = []
    for at, kind in enumerate(numbers.grid.kinds):
        cells = {
            (model, where, strength): cell
            for model, where, some in numbers.grid.pairs()
            for strength, cell in enumerate(some)
            if where == at and cell.baselines.shape[1]
        }
        if cells:
            rows = [_skill(cell, numbers.choices[place].best) for place, cell in cells.items()]
            found.append(_summary(kind, kind in numbers.grid.setting.controls, rows))
    return tuple(found)


def _skill(cell: Cell, best: int) -> dict[str, float]:
    """One cell; NaN where there is no gap, or the plan changes nothing."""
    ridge, _, constant = cell.baselines
    full, pruned = -cell.test[0], -cell.test[best]
    gap, lean = gap_closed(full, pruned, ridge), float((pruned < full).mean() - (pruned > full).mean())
    return {
        "full": skill(full, constant),
        "pruned": skill(pruned, constant),
        "ridge": skill(ridge, constant),
        "gap": np.nan if gap is None else gap,
        "tail": float((full.mean() - pruned.mean()) * lean < 0) if best else np.nan,
    }


def _summary(kind: str, control: bool, rows: list[dict[str, float]]) -> KindSkill:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    gaps, tails = (column[np.isfinite(column)] for column in (columns["gap"], columns["tail"]))
    return KindSkill(
        kind=kind,
        control=control,
        cells=len(rows),
        **{name: float(np.median(columns[name])) for name in ("full", "pruned", "ridge")},
        gap_closed=float(np.median(gaps)) if len(gaps) else None,
        gaps=len(gaps),
        tail_only=float(tails.mean()) if len(tails) else None,
    )


def rows(numbers: Numbers) -> list[dict[str, Any]]:
    """Q3: every OOD cell for a judge without labels: its evidence, and what it truly is.

    Returns:
        One entry for each: model, parameters, setting, kind, control, strength, task, evidence (in the order of
        `Cell.evidence`), truth, gain, its ci95, and the ceiling of all plans' gains.
    """
    found = []
    for model, kind, cells in numbers.grid.pairs():
        for strength, cell in enumerate(cells):
            told = numbers.told[model, kind, strength]
            found.append(
                {
                    "model": cell.where.model,
                    "parameters": cell.where.parameters,
                    "setting": cell.where.setting,
                    "kind": cell.where.kind,
                    "control": cell.where.kind in numbers.grid.setting.controls,
                    "strength": strength,
                    "task": cell.where.task,
                    "evidence": cell.evidence.tolist(),
                    **vars(told),
                }
            )
    return found
