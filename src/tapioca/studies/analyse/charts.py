"""What the charts of one setting draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Estimate
from tapioca.studies.analyse.cells import CellIndex
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure, model_sizes
from tapioca.studies.analyse.log_ratios import PlanSet, measure_log_ratios
from tapioca.studies.cell import Cell
from tapioca.studies.measures import DEVIATION, LOG_RATIO, UNIT_RANGES
from tapioca.studies.parts import (
    Charts,
    DosePoint,
    HeatTile,
    LinePoint,
    PlanPoint,
    ProfilePoint,
    Scatter,
    SetName,
    SizePoint,
    StrengthPoint,
)

MIN_VALUES = 3
"""Values of which a mean has a t-interval."""
NOT_BELOW_0 = (0.0, np.inf)
"""What deviations cannot leave, means of sizes as they are, nor their intervals."""


class ChartBuilder:
    """Makes the charts' data.

    Args:
        claims: of the setting.
    """

    def __init__(self, claims: Claims):
        self.claims, self.statistics, self.grid = claims, claims.statistics, claims.statistics.grid

    def build(self) -> Charts:
        """All of them."""
        heat, profiles = self._build_layers()
        return Charts(
            heat=heat,
            doses=self._build_doses(),
            strengths=self._build_strengths(),
            profiles=profiles,
            scatter=self._build_scatter(),
            sizes=self._build_sizes(),
            line=self._build_line(),
        )

    def _build_layers(self) -> tuple[tuple[HeatTile, ...], tuple[ProfilePoint, ...]]:
        """Layer by layer: shares of the deviation, log ratio of dropping it, and the signed profile."""
        parts_by_kind: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for model, kind, cells in self.grid.pairs():
            plans = self.statistics.plans(model)
            rows = [(cell.along, _single_layer_log_ratios(plans, cell), cell.signed) for cell in cells]
            along, ratios, signed = (_mean_over_parts([row[part] for row in rows]) for part in range(3))
            parts_by_kind.setdefault(kind, []).append((along, ratios, signed))
        heat: list[HeatTile] = []
        profiles: list[ProfilePoint] = []
        for kind, kind_parts in sorted(parts_by_kind.items()):
            name = self.grid.kinds[kind]
            heat += _tiles_of_kind(
                name,
                _mean_over_parts([model_parts[0] for model_parts in kind_parts]),
                _mean_over_parts([model_parts[1] for model_parts in kind_parts]),
            )
            profiles += _profile_points(name, _stack_padded([model_parts[2] for model_parts in kind_parts]))
        return tuple(heat), tuple(profiles)

    def _build_doses(self) -> tuple[DosePoint, ...]:
        """Dose-response: sets of layers at every scale, over all kinds but controls."""
        names: tuple[SetName, ...] = ("chosen", "random", "all")
        points = []
        for name in names:
            for scale_index, alpha in enumerate(self.claims.interventions.alphas):
                log_ratio, norm, distance = (
                    self._estimate_dose(name, y, scale_index) for y in ("log_ratio", *PROFILE_KINDS)
                )
                if log_ratio:
                    point = DosePoint(layers=name, alpha=alpha, log_ratio=log_ratio, norm=norm, distance=distance)
                    points.append(point)
        return tuple(points)

    def _estimate_dose(self, name: str, outcome: str, scale_index: int) -> Estimate | None:
        table = self.claims.interventions.curves.get((name, outcome, scale_index), {})
        unit, within = (LOG_RATIO, UNIT_RANGES[LOG_RATIO]) if outcome == "log_ratio" else (DEVIATION, NOT_BELOW_0)
        return Measure(outcome, unit, self.grid, table, within=within).without_controls.estimate()

    def _build_strengths(self) -> tuple[StrengthPoint, ...]:
        """Strength by strength: both log ratios and both deviations, kind by kind."""
        points = []
        for kind in self.grid.kinds:
            for strength, task in enumerate((self.grid.setting.id, *self.grid.setting.shifts[kind])):
                estimates = {
                    "anew": self._estimate_at_strength(kind, strength, "log_ratio"),
                    "fixed": self._estimate_at_strength(kind, strength, "fixed_log_ratio"),
                    "norm": self._estimate_at_strength(kind, strength, "norm_deviation"),
                    "distance": self._estimate_at_strength(kind, strength, "distance_deviation"),
                }
                measured = {name: estimate for name, estimate in estimates.items() if estimate}
                if len(measured) == len(estimates):
                    control = kind in self.grid.setting.controls
                    points.append(StrengthPoint(kind=kind, control=control, strength=strength, task=task, **measured))
        return tuple(points)

    def _estimate_at_strength(self, kind: str, strength: int, table_name: str) -> Estimate | None:
        """One number of one kind at one strength from 1, or at 0."""
        unit = DEVIATION if "deviation" in table_name else LOG_RATIO
        measure = self.claims.measure_of_table(table_name if strength else f"{table_name}_at_zero", unit).of_kinds(kind)
        measure = measure.of_strength(max(strength - 1, 0))
        return replace(measure, within=NOT_BELOW_0 if unit == DEVIATION else UNIT_RANGES[unit]).estimate()

    def _build_scatter(self) -> Scatter | None:
        """All plans of the cell with the median correlation, and the correlations of all cells."""
        correlations_by_cell = {
            index: correlations
            for index in self.statistics.labels
            if np.isfinite(correlations := self._correlations_over_plans(index)).all()
        }
        correlations_by_cell = {
            index: correlations
            for index, correlations in correlations_by_cell.items()
            if self.grid.kinds[index[1]] in self.grid.pooled
        }
        if not correlations_by_cell:
            return None
        index = sorted(correlations_by_cell, key=lambda candidate: float(correlations_by_cell[candidate].sum()))[
            len(correlations_by_cell) // 2
        ]
        cell = self.grid.cell(index)
        return Scatter(
            model=cell.where.model,
            kind=cell.where.kind,
            task=cell.where.task,
            plans=self._plan_points(index, cell),
            norm=tuple(float(correlations[0]) for correlations in correlations_by_cell.values()),
            distance=tuple(float(correlations[1]) for correlations in correlations_by_cell.values()),
        )

    def _correlations_over_plans(self, cell_index: CellIndex) -> np.ndarray:
        tables = [self.statistics.tables[f"{kind}_realignment_with_log_ratio"] for kind in PROFILE_KINDS]
        return np.array([table[cell_index].value for table in tables])

    def _plan_points(self, cell_index: CellIndex, cell: Cell) -> tuple[PlanPoint, ...]:
        ratios = measure_log_ratios(cell, 0, 0)[0]
        best_plan = self.statistics.choices[cell_index].best
        plans = self.statistics.plans(cell_index[0]).plans
        return tuple(
            PlanPoint(
                drops=plan.drops,
                norm=float(cell.realigned[0, plan_index]),
                distance=float(cell.realigned[1, plan_index]),
                log_ratio=float(ratios[plan_index]),
                greedy=plan_index == best_plan,
            )
            for plan_index, plan in enumerate(plans)
            if plan.drops
        )

    def _build_sizes(self) -> tuple[SizePoint, ...]:
        """The mean log ratio of every model."""
        table, points = self.claims.measure("log_ratio").without_controls.table, []
        for model, name in enumerate(self.grid.models):
            ratios_by_kind: dict[int, list[float]] = {}
            for cell_index, statistic in table.items():
                if cell_index[0] == model:
                    ratios_by_kind.setdefault(cell_index[1], []).append(statistic.value)
            if ratios_by_kind:
                mean_ratio = float(np.mean([np.mean(values) for values in ratios_by_kind.values()]))
                points.append(SizePoint(model=name, parameters=int(self.grid.parameters[model]), log_ratio=mean_ratio))
        return tuple(points)

    def _build_line(self) -> tuple[LinePoint, ...]:
        """The regression line at every size, where there are several."""
        known_sizes = model_sizes(self.grid)
        estimate_by_size = (
            {parameters: self.claims.line_at(parameters).without_controls.estimate() for parameters in known_sizes}
            if len(known_sizes) > 1
            else {}
        )
        return tuple(
            LinePoint(parameters=int(parameters), log_ratio=estimate)
            for parameters, estimate in estimate_by_size.items()
            if estimate
        )


def _single_layer_log_ratios(plans: PlanSet, cell: Cell) -> np.ndarray:
    """Log ratio of dropping each layer alone, (layer,), NaN where it cannot be."""
    layers, places = plans.single_layer_plans
    ratios = np.full(plans.kept.shape[1], np.nan)
    ratios[layers] = measure_log_ratios(cell, 0, 0)[0, places]
    return ratios


def _tiles_of_kind(kind: str, along: np.ndarray, ratios: np.ndarray) -> list[HeatTile]:
    """One kind of shift, from shares of shape (kind of profile, layer) and log ratios of shape (layer,)."""
    tiles = []
    for layer, (norm, distance) in enumerate(along.T.tolist()):
        log_ratio = float(ratios[layer]) if np.isfinite(ratios[layer]) else None
        tiles.append(HeatTile(kind=kind, layer=layer, norm=norm, distance=distance, log_ratio=log_ratio))
    return tiles


def _profile_points(kind: str, signed: np.ndarray) -> list[ProfilePoint]:
    """One kind of shift, from signed ratios of shape (model, kind of profile, layer), with t-intervals over models."""
    points = []
    for layer in range(signed.shape[-1]):
        finite_signed = signed[np.isfinite(signed[:, 0, layer]), :, layer]
        norm, distance = finite_signed.mean(axis=0).tolist()
        bands = [_t_interval(column) for column in finite_signed.T]
        points.append(
            ProfilePoint(
                kind=kind, layer=layer, norm=norm, distance=distance, norm_ci95=bands[0], distance_ci95=bands[1]
            )
        )
    return points


def _t_interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % t-interval of a mean; None of too few values or where all are the same."""
    if len(values) < MIN_VALUES or not np.ptp(values):
        return None
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def _stack_padded(parts: list[np.ndarray]) -> np.ndarray:
    """Parts as one array, NaN where one has fewer layers than others."""
    layers = max(part.shape[-1] for part in parts)
    stacked = np.full((len(parts), *parts[0].shape[:-1], layers), np.nan)
    for row, part in zip(stacked, parts, strict=True):
        row[..., : part.shape[-1]] = part
    return stacked


def _mean_over_parts(parts: list[np.ndarray]) -> np.ndarray:
    """Mean over parts, layer by layer."""
    stacked = _stack_padded(parts)
    is_finite = np.isfinite(stacked)
    total = np.where(is_finite, stacked, 0.0).sum(axis=0)
    mean: np.ndarray = np.divide(
        total, is_finite.sum(axis=0), out=np.full(total.shape, np.nan), where=is_finite.any(axis=0)
    )
    return mean
