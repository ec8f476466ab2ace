"""What the charts of one setting draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from tapioca.geometry.profiles import KINDS
from tapioca.lab.study.cell import Cell
from tapioca.lab.study.claims import ANY, BEND, GAIN, Claims
from tapioca.lab.study.gains import Plans, gains
from tapioca.lab.study.grid import FEWEST_MODELS, Place
from tapioca.lab.study.measure import Measure, sizes
from tapioca.records import (
    Charts,
    DosePoint,
    Estimate,
    HeatTile,
    LinePoint,
    PlanPoint,
    ProfilePoint,
    Scatter,
    SetName,
    SizePoint,
    StrengthPoint,
)

NOT_BELOW_0 = (0.0, np.inf)
"""What deviations cannot leave, means of sizes as they are, nor their intervals."""


class Drawing:
    """Makes the charts' data.

    Args:
        claims: of the setting.
    """

    def __init__(self, claims: Claims):
        self.claims, self.numbers, self.grid = claims, claims.numbers, claims.numbers.grid

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
        """Layer by layer: shares of the deviation, gain of dropping it, and the signed profile."""
        shown: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
        for model, kind, cells in self.grid.pairs():
            plans = self.numbers.plans(model)
            rows = [(cell.along, _alone(plans, cell), cell.signed) for cell in cells]
            along, gain, signed = (_mean([row[part] for row in rows]) for part in range(3))
            shown.setdefault(kind, []).append((along, gain, signed))
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
            for at, alpha in enumerate(self.claims.causes.alphas):
                gain, norm, distance = (self._dose(name, outcome, at) for outcome in ("gain", *KINDS))
                if gain:
                    found.append(DosePoint(layers=name, alpha=alpha, gain=gain, norm=norm, distance=distance))
        return tuple(found)

    def _dose(self, name: str, outcome: str, at: int) -> Estimate | None:
        table = self.claims.causes.curves.get((name, outcome, at), {})
        unit, within = (GAIN, ANY) if outcome == "gain" else (BEND, NOT_BELOW_0)
        return Measure(outcome, unit, self.grid, table, self.claims.how, within=within).main.estimate()

    def _strengths(self) -> tuple[StrengthPoint, ...]:
        """Strength by strength: both gains and both deviations, kind by kind."""
        found = []
        for kind in self.grid.kinds:
            for at, task in enumerate((self.grid.setting.id, *self.grid.setting.shifts[kind])):
                values = {
                    "anew": self._at(kind, at, "gain", "anew at zero"),
                    "fixed": self._at(kind, at, "fixed gain", "fixed at zero"),
                    "norm": self._at(kind, at, "norm deviation", "norm at zero"),
                    "distance": self._at(kind, at, "distance deviation", "distance at zero"),
                }
                there = {name: value for name, value in values.items() if value}
                if len(there) == len(values):
                    control = kind in self.grid.setting.controls
                    found.append(StrengthPoint(kind=kind, control=control, strength=at, task=task, **there))
        return tuple(found)

    def _at(self, kind: str, strength: int, table: str, at_zero: str) -> Estimate | None:
        """One number of one kind at one strength from 1, or at 0."""
        measure = self.claims.measure(table, table if strength else at_zero, GAIN).of(kind)
        place = max(strength - 1, 0)
        some = {where: found for where, found in measure.table.items() if where[2] == place}
        return replace(measure, table=some, within=NOT_BELOW_0 if "deviation" in table else ANY).estimate()

    def _scatter(self) -> Scatter | None:
        """All plans of the cell with the median correlation, and the correlations of all cells."""
        both = {place: found for place in self.numbers.told if np.isfinite(found := self._over_plans(place)).all()}
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

    def _over_plans(self, place: Place) -> np.ndarray:
        return np.array([self.numbers.tables[f"{kind} over plans"][place].value for kind in KINDS])

    def _points(self, place: Place, cell: Cell) -> tuple[PlanPoint, ...]:
        gain = gains(cell, 0, 0)[0]
        best = self.numbers.choices[place].best
        plans = self.numbers.plans(place[0]).plans
        return tuple(
            PlanPoint(
                drops=plan.drops,
                norm=float(cell.realigned[0, at]),
                distance=float(cell.realigned[1, at]),
                gain=float(gain[at]),
                greedy=at == best,
            )
            for at, plan in enumerate(plans)
            if plan.drops
        )

    def _sizes(self) -> tuple[SizePoint, ...]:
        """The mean gain of every model."""
        table, found = self.claims.gain().main.table, []
        for model, name in enumerate(self.grid.models):
            mine: dict[int, list[float]] = {}
            for place, one in table.items():
                if place[0] == model:
                    mine.setdefault(place[1], []).append(one.value)
            if mine:
                gain = float(np.mean([np.mean(values) for values in mine.values()]))
                found.append(SizePoint(model=name, parameters=int(self.grid.parameters[model]), gain=gain))
        return tuple(found)

    def _line(self) -> tuple[LinePoint, ...]:
        """The regression line at every size, where there are several."""
        known = sizes(self.grid)
        found = {at: self.claims.line(at, "same").main.estimate() for at in known} if len(known) > 1 else {}
        return tuple(LinePoint(parameters=int(at), gain=gain) for at, gain in found.items() if gain)


def _alone(plans: Plans, cell: Cell) -> np.ndarray:
    """Gain of dropping each layer alone, (layer,), NaN where it cannot be."""
    layers, places = plans.singles
    found = np.full(plans.kept.shape[1], np.nan)
    found[layers] = gains(cell, 0, 0)[0, places]
    return found


def _tiles(kind: str, along: np.ndarray, gain: np.ndarray) -> list[HeatTile]:
    """One kind of shift, from shares of shape (kind of profile, layer) and gains of shape (layer,)."""
    found = []
    for layer, (norm, distance) in enumerate(along.T.tolist()):
        dropped = float(gain[layer]) if np.isfinite(gain[layer]) else None
        found.append(HeatTile(kind=kind, layer=layer, norm=norm, distance=distance, gain=dropped))
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
    """95 % t-interval of a mean; None from fewer than three values or where all are the same."""
    if len(values) < FEWEST_MODELS or not np.ptp(values):
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
