"""What the charts of one setting draw."""

from collections import defaultdict
from dataclasses import replace
from itertools import chain, product
from math import isnan
from typing import get_args

import numpy as np
from scipy import stats

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records import Estimate
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.collect import mean_of_present, stack_padded
from tapioca.studies.analyse.estimates import Measure, model_sizes
from tapioca.studies.analyse.numbers import dose_table_name
from tapioca.studies.measures import DEVIATION, LOG_RATIO, UNIT_RANGES
from tapioca.studies.parts import (
    Charts,
    DosePoint,
    HeatTile,
    LinePoint,
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
    """Makes the data of a setting's charts."""

    def __init__(self, claims: Claims):
        self.claims, self.numbers, self.axes = claims, claims.numbers, claims.axes

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
        parts_by_kind = defaultdict[int, list[np.ndarray]](list)
        for (_, kind, _), part in sorted(self.numbers.layers.items()):
            parts_by_kind[kind].append(part)
        heat: list[HeatTile] = []
        profiles: list[ProfilePoint] = []
        for kind, parts in sorted(parts_by_kind.items()):
            name, stacked = self.axes.kinds[kind], stack_padded(parts)
            *along, ratios = mean_of_present(stacked[:, :3])
            heat += _tiles_of_kind(name, np.array(along), ratios)
            profiles += _profile_points(name, stacked[:, 3:])
        return tuple(heat), tuple(profiles)

    def _build_doses(self) -> tuple[DosePoint, ...]:
        """Dose-response: sets of layers at every scale, over all kinds but controls."""
        points = []
        for name, (place, alpha) in product(get_args(SetName), enumerate(self.axes.study.scales)):
            if log_ratio := self._estimate_dose(name, "log_ratio", place):
                deviations = {kind: self._estimate_dose(name, kind, place) for kind in PROFILE_KINDS}
                points.append(DosePoint(layers=name, alpha=alpha, log_ratio=log_ratio, **deviations))
        return tuple(points)

    def _estimate_dose(self, name: str, outcome: str, scale_index: int) -> Estimate | None:
        table = self.numbers.tables.get(dose_table_name(name, outcome, scale_index), {})
        unit, within = (LOG_RATIO, UNIT_RANGES[LOG_RATIO]) if outcome == "log_ratio" else (DEVIATION, NOT_BELOW_0)
        return Measure(outcome, unit, self.axes, table, within=within).without_controls.estimate()

    def _build_strengths(self) -> tuple[StrengthPoint, ...]:
        """Strength by strength: both log ratios and both deviations, kind by kind."""
        points = []
        for kind in self.axes.kinds:
            for strength, task in enumerate((self.axes.setting.id, *self.axes.setting.shifts[kind])):
                tables = {"anew": "log_ratio", "fixed": "fixed_log_ratio"}
                tables |= {profile: f"{profile}_deviation" for profile in PROFILE_KINDS}
                estimates = {field: self._estimate_at_strength(kind, strength, name) for field, name in tables.items()}
                if all(estimates.values()):
                    control = kind in self.axes.setting.controls
                    points.append(StrengthPoint(kind=kind, control=control, strength=strength, task=task, **estimates))
        return tuple(points)

    def _estimate_at_strength(self, kind: str, strength: int, table_name: str) -> Estimate | None:
        """One number of one kind at one strength from 1, or at 0."""
        unit = DEVIATION if "deviation" in table_name else LOG_RATIO
        measure = self.claims.measure_of_table(table_name if strength else f"{table_name}_at_zero", unit).of_kinds(kind)
        measure = measure.of_strength(max(strength - 1, 0))
        return replace(measure, within=NOT_BELOW_0 if unit == DEVIATION else UNIT_RANGES[unit]).estimate()

    def _build_scatter(self) -> Scatter | None:
        """The example of the model with the median correlation, and the correlations of all cells of all models."""
        examples = [example for _, example in sorted(self.numbers.examples.items())]
        if not examples:
            return None
        middle = sorted(examples, key=lambda example: float(np.median(np.add(example.norm, example.distance))))
        correlations = {str(kind): tuple(chain(*(getattr(one, kind) for one in examples))) for kind in PROFILE_KINDS}
        return middle[len(examples) // 2].model_copy(update=correlations)

    def _build_sizes(self) -> tuple[SizePoint, ...]:
        """The mean log ratio of every model."""
        ratios: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for (model, kind, _), number in self.claims.measure("log_ratio").without_controls.table.items():
            ratios[model][kind].append(number.value)
        return tuple(
            SizePoint(
                model=self.axes.models[model],
                parameters=int(self.axes.parameters[model]),
                log_ratio=float(np.mean([np.mean(values) for values in by_kind.values()])),
            )
            for model, by_kind in sorted(ratios.items())
        )

    def _build_line(self) -> tuple[LinePoint, ...]:
        """The regression line at every size, where there are several."""
        sizes = model_sizes(self.axes)
        estimates = [(size, self.claims.line_at(size).without_controls.estimate()) for size in sizes]
        return tuple(LinePoint(parameters=int(size), log_ratio=line) for size, line in estimates if line and sizes[1:])


def _tiles_of_kind(kind: str, along: np.ndarray, ratios: np.ndarray) -> list[HeatTile]:
    """One kind of shift, from shares of shape (kind of profile, layer) and log ratios of shape (layer,)."""
    return [
        HeatTile(
            kind=kind,
            layer=layer,
            log_ratio=None if isnan(log_ratio) else log_ratio,
            **dict(zip(PROFILE_KINDS, shares, strict=True)),
        )
        for layer, (shares, log_ratio) in enumerate(zip(along.T.tolist(), ratios.tolist(), strict=True))
    ]


def _profile_points(kind: str, signed: np.ndarray) -> list[ProfilePoint]:
    """One kind of shift, from signed ratios of shape (model, kind of profile, layer), with t-intervals over models."""
    points = []
    for layer, rows in enumerate(np.moveaxis(signed, -1, 0)):
        finite = rows[np.isfinite(rows[:, 0])]
        means = dict(zip(PROFILE_KINDS, finite.mean(axis=0).tolist(), strict=True))
        bands = {f"{name}_ci95": _t_interval(column) for name, column in zip(PROFILE_KINDS, finite.T, strict=True)}
        points.append(ProfilePoint(kind=kind, layer=layer, **means, **bands))
    return points


def _t_interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % t-interval of a mean; None of too few values or where all are the same."""
    if len(values) < MIN_VALUES or not np.ptp(values):
        return None
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return float(low), float(high)
