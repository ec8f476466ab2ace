"""The open questions Q1 to Q3 in one setting, and in the lab how models stand to predictors that were never trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from tapioca.geometry.evidence import EVIDENCE
from tapioca.geometry.profiles import KINDS
from tapioca.lab.baselines import gap_closed, skill
from tapioca.records import Case, Estimate
from tapioca.records.tree import layers_computed
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure, interval
from tapioca.studies.analyse.labels import CellLabel
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS
from tapioca.studies.analyse.statistics import CellStatistics, log_ratio_from
from tapioca.studies.cell import Cell
from tapioca.studies.measures import LOG_RATIO
from tapioca.studies.parts import TRUTHS, Computed, KindSkill, KindSummary, Labelled


def summaries(claims: Claims) -> tuple[KindSummary, ...]:
    """Q1 and the counts of Q3, kind by kind."""
    grid, labelled = claims.statistics.grid, claims.statistics.labels
    log_ratio = claims.measure("log_ratio")
    norm, distance = (claims.measure(f"{kind}_excess") for kind in KINDS)
    found = []
    for at, kind in enumerate(grid.kinds):
        truths = [label.truth for place, label in labelled.items() if place[1] == at]
        found.append(
            KindSummary(
                kind=kind,
                control=kind in grid.setting.controls,
                log_ratio=log_ratio.of(kind).pooled(),
                norm=norm.of(kind).pooled(),
                distance=distance.of(kind).pooled(),
                truths={truth: truths.count(truth) for truth in TRUTHS},
            )
        )
    return tuple(found)


def computed(statistics: CellStatistics) -> tuple[Computed, ...]:
    """Q2: layers computed for one prompt by greedy and for the whole space, means over all searches and models."""
    choices = [*statistics.reference.values(), *statistics.choices.values()]
    if not choices:
        return ()
    spaces = [statistics.plans(model) for model in statistics.reference]
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
    found, every = [], claims.measure("log_ratio").main
    for count in PROMPT_COUNTS:
        few = claims.of_table(log_ratio_from(count), LOG_RATIO).main
        if log_ratio := few.estimate():
            found.append(Labelled(prompts=count, log_ratio=log_ratio, share=_share(few, every)))
    return tuple(found)


def _share(few: Measure, every: Measure) -> Estimate | None:
    """One log ratio as a share of another that lies above 0, of the same resamples of models and kinds."""
    part, whole = few.resampled(), every.resampled()
    if part is None or whole is None or interval(whole[np.isfinite(whole)])[0] <= 0:
        return None
    drawn = (part / np.where(whole > 0, whole, np.nan))[np.isfinite(part) & (whole > 0)]
    return Estimate(value=float(drawn[0]), ci95=interval(drawn))


def skills(statistics: CellStatistics) -> tuple[KindSkill, ...]:
    """Skill, the gap to ridge and what is tail only, kind by kind; empty outside of the lab."""
    found = []
    for at, kind in enumerate(statistics.grid.kinds):
        cells = {
            (model, where, strength): cell
            for model, where, some in statistics.grid.pairs()
            for strength, cell in enumerate(some)
            if where == at and cell.baselines.shape[1]
        }
        if cells:
            rows = [_skill(cell, statistics.choices[place].best) for place, cell in cells.items()]
            found.append(_summary(kind, kind in statistics.grid.setting.controls, rows))
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


def shift_cases(statistics: CellStatistics) -> list[Case]:
    """Q3: every OOD cell of a model, controls left out, as what decides without labels is fitted on."""
    controls = statistics.grid.setting.controls
    return [
        _shift_case(cell, strength, statistics.labels[model, kind, strength])
        for model, kind, cells in statistics.grid.pairs()
        for strength, cell in enumerate(cells)
        if cell.where.kind not in controls
    ]


def _shift_case(cell: Cell, strength: int, label: CellLabel) -> Case:
    return Case(
        model=cell.where.model,
        size=cell.where.parameters,
        kind=cell.where.kind,
        strength=strength,
        evidence=dict(zip(EVIDENCE, cell.evidence.tolist(), strict=True)),
        truth=None if label.truth == "undecided" else label.truth,
        gain=relative_gain(label.log_ratio),
        low=relative_gain(label.ci95[0]),
    )


def relative_gain(log_ratio: float) -> float:
    """The share of the error that a log ratio takes away."""
    return -math.expm1(-log_ratio)
