"""From measured cells to the numbers of a setting: those that verdicts are about, and those of charts and open questions."""

import numpy as np

from tapioca.lab.baselines import compute_gap_closed, compute_skill
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.studies.analyse.cells import CellGrid, CellIndex
from tapioca.studies.analyse.interventions import Interventions
from tapioca.studies.analyse.log_ratios import PlanSet, measure_log_ratios
from tapioca.studies.analyse.numbers import CellStatistic, SearchCounts, SettingNumbers, skill_table_name
from tapioca.studies.analyse.statistics import CellStatistics
from tapioca.studies.analyse.unlabelled import UnlabelledChoices
from tapioca.studies.cell import Cell
from tapioca.studies.parts import PlanPoint, Scatter


def measure_numbers(grid: CellGrid) -> SettingNumbers:
    """All numbers of what was measured of a setting."""
    statistics = CellStatistics.measure(grid)
    Interventions(statistics).add()
    UnlabelledChoices(statistics).add()
    _add_searches(statistics)
    for model, kind, cells in grid.pairs():
        statistics.numbers.layers[model, kind, 0] = _measure_layers(statistics.plans(model), cells)
        for strength, cell in enumerate(cells):
            if cell.baselines.shape[1]:
                _add_skills(statistics, (model, kind, strength), cell)
    for model in statistics.reference:
        if example := _find_example(statistics, model):
            statistics.numbers.examples[model] = example
    return statistics.numbers


def _add_searches(statistics: CellStatistics) -> None:
    for choice in (*statistics.reference.values(), *statistics.choices.values()):
        statistics.numbers.searches.append(SearchCounts("greedy", choice.tried, choice.tree, choice.scratch))
    for plans in map(statistics.plans, statistics.reference):
        counts = len(plans.plans), count_layers_computed(plans.plans), float(plans.kept.sum())
        statistics.numbers.searches.append(SearchCounts("all plans", *counts))


def _measure_layers(plans: PlanSet, cells: list[Cell]) -> np.ndarray:
    """Means over the strengths of one pair, as in `SettingNumbers.layers`."""
    ratios = [_single_layer_log_ratios(plans, cell)[None] for cell in cells]
    rows = [np.concatenate([cell.along, of_layer, cell.signed]) for cell, of_layer in zip(cells, ratios, strict=True)]
    return mean_of_present(np.stack(rows))


def _single_layer_log_ratios(plans: PlanSet, cell: Cell) -> np.ndarray:
    """Log ratio of dropping each layer alone, (layer,), NaN where it cannot be."""
    layers, places = plans.single_layer_plans
    ratios = np.full(plans.kept.shape[1], np.nan)
    ratios[layers] = measure_log_ratios(cell, 0, 0)[0, places]
    return ratios


def _add_skills(statistics: CellStatistics, index: CellIndex, cell: Cell) -> None:
    for name, value in _measure_skills(cell, statistics.choices[index].best).items():
        statistics.numbers.add(skill_table_name(name), index, CellStatistic(value, None, cell.test.shape[1]))


def _measure_skills(cell: Cell, best: int) -> dict[str, float]:
    """One cell, by `SKILLS`; NaN where there is no gap, or the plan changes nothing."""
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


def _find_example(statistics: CellStatistics, model: int) -> Scatter | None:
    """All plans of the cell of a model with the median correlation, controls left out; None without any correlation."""
    grid, tables = statistics.grid, [statistics.tables[f"{kind}_realignment_with_log_ratio"] for kind in PROFILE_KINDS]
    correlations = {
        index: np.array([table[index].value for table in tables])
        for index in statistics.choices
        if index[0] == model and grid.kinds[index[1]] in grid.pooled
    }
    correlations = {index: values for index, values in correlations.items() if np.isfinite(values).all()}
    if not correlations:
        return None
    index = sorted(correlations, key=lambda place: float(correlations[place].sum()))[len(correlations) // 2]
    cell, columns = grid.cell(index), np.array(list(correlations.values())).T.tolist()
    return Scatter(
        model=cell.where.model,
        kind=cell.where.kind,
        task=cell.where.task,
        plans=_list_plan_points(statistics.plans(model), cell, statistics.choices[index].best),
        **dict(zip(PROFILE_KINDS, columns, strict=True)),
    )


def _list_plan_points(plans: PlanSet, cell: Cell, best: int) -> tuple[PlanPoint, ...]:
    rows = zip(plans.plans, measure_log_ratios(cell, 0, 0)[0].tolist(), cell.realigned[0].T.tolist(), strict=True)
    return tuple(
        PlanPoint(
            drops=plan.drops,
            log_ratio=log_ratio,
            greedy=index == best,
            **dict(zip(PROFILE_KINDS, realigned, strict=True)),
        )
        for index, (plan, log_ratio, realigned) in enumerate(rows)
        if plan.drops
    )


def stack_padded(parts: list[np.ndarray]) -> np.ndarray:
    """Parts as one array, NaN where one has fewer layers than others."""
    layers = max(part.shape[-1] for part in parts)
    stacked = np.full((len(parts), *parts[0].shape[:-1], layers), np.nan)
    for row, part in zip(stacked, parts, strict=True):
        row[..., : part.shape[-1]] = part
    return stacked


def mean_of_present(stacked: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is there, NaN where nothing is."""
    mean: np.ndarray = np.ma.masked_invalid(stacked).mean(axis=0).filled(np.nan)
    return mean
