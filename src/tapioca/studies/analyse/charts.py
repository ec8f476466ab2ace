"""What the charts of one setting draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from tapioca.geometry.profiles import KINDS
from tapioca.records import Estimate
from tapioca.studies.analyse.cells import CellIndex
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure, sizes
from tapioca.studies.analyse.log_ratios import Plans, log_ratios
from tapioca.studies.cell import Cell
from tapioca.studies.measures import DEVIATION, LIMITS, LOG_RATIO
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


class Drawing:
    """Makes the charts' data.

    Args:
        claims: of the setting.
    """

    def __init__(self, claims: Claims):
        self.claims, self.statistics, self.grid = claims, claims.statistics, claims.statistics.grid

    def charts(self) -> Charts:
        """All of them."""
        heat, profiles = self._layers()
        return Charts(
            heat=heat,
            doses=self._doses(),
            strengths=self._strengths(),
            profiles=profiles,
            scatter=self._scatter(),
            sizes=self._sizes(),
            line=self._line(),
        )

    def _layers(self) -> tuple[tuple[HeatTile, ...], tuple[ProfilePoint, ...]]:
        """Layer by layer: shares of the deviation, log ratio of dropping it, and the signed profile."""
        shown: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for model, kind, cells in self.grid.pairs():
            plans = self.statistics.plans(model)
            rows = [(cell.along, _alone(plans, cell), cell.signed) for cell in cells]
            along, ratios, signed = (_mean([row[part] for row in rows]) for part in range(3))
            shown.setdefault(kind, []).append((along, ratios, signed))
        heat: list[HeatTile] = []
        profiles: list[ProfilePoint] = []
        for kind, found in sorted(shown.items()):
            name = self.grid.kinds[kind]
            heat += _tiles(name, _mean([one[0] for one in found]), _mean([one[1] for one in found]))
            profiles += _profile(name, _stacked([one[2] for one in found]))
        return tuple(heat), tuple(profiles)

    def _doses(self) -> tuple[DosePoint, ...]:
        """Dose-response: sets of layers at every scale, over all kinds but controls."""
        names: tuple[SetName, ...] = ("chosen", "random", "all")
        found = []
        for name in names:
            for at, alpha in enumerate(self.claims.interventions.alphas):
                log_ratio, norm, distance = (self._dose(name, outcome, at) for outcome in ("log_ratio", *KINDS))
                if log_ratio:
                    point = DosePoint(layers=name, alpha=alpha, log_ratio=log_ratio, norm=norm, distance=distance)
                    found.append(point)
        return tuple(found)

    def _dose(self, name: str, outcome: str, at: int) -> Estimate | None:
        table = self.claims.interventions.curves.get((name, outcome, at), {})
        unit, within = (LOG_RATIO, LIMITS[LOG_RATIO]) if outcome == "log_ratio" else (DEVIATION, NOT_BELOW_0)
        return Measure(outcome, unit, self.grid, table, self.claims.resampling, within=within).main.estimate()

    def _strengths(self) -> tuple[StrengthPoint, ...]:
        """Strength by strength: both log ratios and both deviations, kind by kind."""
        found = []
        for kind in self.grid.kinds:
            for at, task in enumerate((self.grid.setting.id, *self.grid.setting.shifts[kind])):
                values = {
                    "anew": self._at(kind, at, "log_ratio"),
                    "fixed": self._at(kind, at, "fixed_log_ratio"),
                    "norm": self._at(kind, at, "norm_deviation"),
                    "distance": self._at(kind, at, "distance_deviation"),
                }
                there = {name: value for name, value in values.items() if value}
                if len(there) == len(values):
                    control = kind in self.grid.setting.controls
                    found.append(StrengthPoint(kind=kind, control=control, strength=at, task=task, **there))
        return tuple(found)

    def _at(self, kind: str, strength: int, table: str) -> Estimate | None:
        """One number of one kind at one strength from 1, or at 0."""
        unit = DEVIATION if "deviation" in table else LOG_RATIO
        measure = self.claims.of_table(table if strength else f"{table}_at_zero", unit).of(kind)
        place = max(strength - 1, 0)
        some = {where: found for where, found in measure.table.items() if where[2] == place}
        return replace(measure, table=some, within=NOT_BELOW_0 if unit == DEVIATION else LIMITS[unit]).estimate()

    def _scatter(self) -> Scatter | None:
        """All plans of the cell with the median correlation, and the correlations of all cells."""
        both = {place: found for place in self.statistics.labels if np.isfinite(found := self._over_plans(place)).all()}
        both = {place: found for place, found in both.items() if self.grid.kinds[place[1]] in self.grid.pooled}
        if not both:
            return None
        place = sorted(both, key=lambda one: float(both[one].sum()))[len(both) // 2]
        cell = (self.grid.strengths(*place[:2]) or [])[place[2]]
        return Scatter(
            model=cell.where.model,
            kind=cell.where.kind,
            task=cell.where.task,
            plans=self._points(place, cell),
            norm=tuple(float(found[0]) for found in both.values()),
            distance=tuple(float(found[1]) for found in both.values()),
        )

    def _over_plans(self, place: CellIndex) -> np.ndarray:
        return np.array([self.statistics.tables[f"{kind}_realignment_with_log_ratio"][place].value for kind in KINDS])

    def _points(self, place: CellIndex, cell: Cell) -> tuple[PlanPoint, ...]:
        ratios = log_ratios(cell, 0, 0)[0]
        best = self.statistics.choices[place].best
        plans = self.statistics.plans(place[0]).plans
        return tuple(
            PlanPoint(
                drops=plan.drops,
                norm=float(cell.realigned[0, at]),
                distance=float(cell.realigned[1, at]),
                log_ratio=float(ratios[at]),
                greedy=at == best,
            )
            for at, plan in enumerate(plans)
            if plan.drops
        )

    def _sizes(self) -> tuple[SizePoint, ...]:
        """The mean log ratio of every model."""
        table, found = self.claims.measure("log_ratio").main.table, []
        for model, name in enumerate(self.grid.models):
            mine: dict[int, list[float]] = {}
            for place, one in table.items():
                if place[0] == model:
                    mine.setdefault(place[1], []).append(one.value)
            if mine:
                mean = float(np.mean([np.mean(values) for values in mine.values()]))
                found.append(SizePoint(model=name, parameters=int(self.grid.parameters[model]), log_ratio=mean))
        return tuple(found)

    def _line(self) -> tuple[LinePoint, ...]:
        """The regression line at every size, where there are several."""
        known = sizes(self.grid)
        found = {at: self.claims.line_at(at).main.estimate() for at in known} if len(known) > 1 else {}
        return tuple(LinePoint(parameters=int(at), log_ratio=value) for at, value in found.items() if value)


def _alone(plans: Plans, cell: Cell) -> np.ndarray:
    """Log ratio of dropping each layer alone, (layer,), NaN where it cannot be."""
    layers, places = plans.singles
    found = np.full(plans.kept.shape[1], np.nan)
    found[layers] = log_ratios(cell, 0, 0)[0, places]
    return found


def _tiles(kind: str, along: np.ndarray, ratios: np.ndarray) -> list[HeatTile]:
    """One kind of shift, from shares of shape (kind of profile, layer) and log ratios of shape (layer,)."""
    found = []
    for layer, (norm, distance) in enumerate(along.T.tolist()):
        dropped = float(ratios[layer]) if np.isfinite(ratios[layer]) else None
        found.append(HeatTile(kind=kind, layer=layer, norm=norm, distance=distance, log_ratio=dropped))
    return found


def _profile(kind: str, signed: np.ndarray) -> list[ProfilePoint]:
    """One kind of shift, from signed ratios of shape (model, kind of profile, layer), with t-intervals over models."""
    found = []
    for layer in range(signed.shape[-1]):
        some = signed[np.isfinite(signed[:, 0, layer]), :, layer]
        norm, distance = some.mean(axis=0).tolist()
        bands = [_interval(column) for column in some.T]
        found.append(
            ProfilePoint(
                kind=kind, layer=layer, norm=norm, distance=distance, norm_ci95=bands[0], distance_ci95=bands[1]
            )
        )
    return found


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % t-interval of a mean; None of too few values or where all are the same."""
    if len(values) < MIN_VALUES or not np.ptp(values):
        return None
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Parts as one array, NaN where one has fewer layers than others."""
    layers = max(part.shape[-1] for part in parts)
    found = np.full((len(parts), *parts[0].shape[:-1], layers), np.nan)
    for row, part in zip(found, parts, strict=True):
        row[..., : part.shape[-1]] = part
    return found


def _mean(parts: list[np.ndarray]) -> np.ndarray:
    """Mean over parts, layer by layer."""
    found = _stacked(parts)
    there = np.isfinite(found)
    total = np.where(there, found, 0.0).sum(axis=0)
    mean: np.ndarray = np.divide(total, there.sum(axis=0), out=np.full(total.shape, np.nan), where=there.any(axis=0))
    return mean
