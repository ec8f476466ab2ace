"""The open questions Q1 to Q3 in one setting, and in the lab how models stand to predictors that were never trained."""

from collections import Counter, defaultdict
from typing import Literal

import numpy as np
import pandas as pd

from tapioca.lab.baselines import compute_gap_closed, compute_skill
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Estimate
from tapioca.stats import percentile_interval
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS
from tapioca.studies.analyse.statistics import CellStatistics, log_ratio_table_name
from tapioca.studies.cell import Cell
from tapioca.studies.measures import LOG_RATIO
from tapioca.studies.parts import TRUTHS, KindSkill, KindSummary, LabelledSearch, SearchCost


def summarise_kinds(claims: Claims) -> tuple[KindSummary, ...]:
    """Q1 and the counts of Q3, kind by kind."""
    grid, labels = claims.grid, claims.statistics.labels
    truths = Counter((grid.kinds[kind], label.truth) for (_, kind, _), label in labels.items())
    measures = {"log_ratio": claims.measure("log_ratio")}
    measures |= {kind: claims.measure(f"{kind}_excess") for kind in PROFILE_KINDS}
    return tuple(
        KindSummary(
            kind=kind,
            control=kind in grid.setting.controls,
            truths={truth: truths[kind, truth] for truth in TRUTHS},
            **{name: measure.of_kinds(kind).pooled() for name, measure in measures.items()},
        )
        for kind in grid.kinds
    )


def measure_search_costs(statistics: CellStatistics) -> tuple[SearchCost, ...]:
    """Q2: layers computed for one prompt by greedy and for the whole space, means over all searches and models."""
    choices = [*statistics.reference.values(), *statistics.choices.values()]
    if not choices:
        return ()
    plan_sets = map(statistics.plans, statistics.reference)
    counts_by_search: dict[Literal["greedy", "all plans"], list[tuple[float, float, float]]] = {
        "greedy": [(choice.tried, choice.tree, choice.scratch) for choice in choices],
        "all plans": [
            (len(plans.plans), count_layers_computed(plans.plans), float(plans.kept.sum())) for plans in plan_sets
        ],
    }
    return tuple(
        SearchCost(
            search=search, **dict(zip(("plans", "tree", "scratch"), np.mean(counts, axis=0).tolist(), strict=True))
        )
        for search, counts in counts_by_search.items()
    )


def measure_label_counts(claims: Claims) -> tuple[LabelledSearch, ...]:
    """Q2: what searches with few labelled prompts bring, beside the search with all."""
    labelled, measure_of_all = [], claims.measure("log_ratio").without_controls
    for count in PROMPT_COUNTS:
        measure_of_few = claims.measure_of_table(log_ratio_table_name(count), LOG_RATIO).without_controls
        if log_ratio := measure_of_few.estimate():
            labelled.append(
                LabelledSearch(
                    prompts=count, log_ratio=log_ratio, share=_share_of_full_search(measure_of_few, measure_of_all)
                )
            )
    return tuple(labelled)


def _share_of_full_search(measure_of_few: Measure, measure_of_all: Measure) -> Estimate | None:
    """One log ratio as a share of another that lies above 0, of the same resamples of models and kinds."""
    few_values, all_values = measure_of_few.resample(), measure_of_all.resample()
    if few_values is None or all_values is None or percentile_interval(all_values[np.isfinite(all_values)])[0] <= 0:
        return None
    shares = (few_values / np.where(all_values > 0, all_values, np.nan))[np.isfinite(few_values) & (all_values > 0)]
    return Estimate(value=float(shares[0]), ci95=percentile_interval(shares))


def summarise_skills(statistics: CellStatistics) -> tuple[KindSkill, ...]:
    """Skill, the gap to ridge and what is tail only, kind by kind; empty outside of the lab."""
    grid, rows_by_kind = statistics.grid, defaultdict[str, list[dict[str, float]]](list)
    for model, kind, cells in grid.pairs():
        for strength, cell in enumerate(cells):
            if cell.baselines.shape[1]:
                best_plan = statistics.choices[model, kind, strength].best
                rows_by_kind[grid.kinds[kind]].append(_measure_skill(cell, best_plan))
    return tuple(
        _summarise_skill(kind, kind in grid.setting.controls, rows_by_kind[kind])
        for kind in grid.kinds
        if kind in rows_by_kind
    )


def _measure_skill(cell: Cell, best: int) -> dict[str, float]:
    """One cell; NaN where there is no gap, or the plan changes nothing."""
    ridge, _, constant = cell.baselines
    full, pruned = -cell.test[0], -cell.test[best]
    gap, net_improved = compute_gap_closed(full, pruned, ridge), float((pruned < full).mean() - (pruned > full).mean())
    return {
        "full": compute_skill(full, constant),
        "pruned": compute_skill(pruned, constant),
        "ridge": compute_skill(ridge, constant),
        "gap": np.nan if gap is None else gap,
        "tail": float((full.mean() - pruned.mean()) * net_improved < 0) if best else np.nan,
    }


def _summarise_skill(kind: str, control: bool, skills: list[dict[str, float]]) -> KindSkill:
    table = pd.DataFrame(skills)
    gaps, tails = table["gap"].dropna(), table["tail"].dropna()
    return KindSkill(
        kind=kind,
        control=control,
        cells=len(table),
        **table[["full", "pruned", "ridge"]].median().to_dict(),
        gap_closed=gaps.median() if len(gaps) else None,
        gaps=len(gaps),
        tail_only=tails.mean() if len(tails) else None,
    )
