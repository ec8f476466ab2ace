"""From numbers of cells to findings: pooled, by kind of shift and by size, with the intervals claims are decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tapioca.records import Estimate
from tapioca.stats import bootstrap_p, correct_holm, percentile_interval
from tapioca.studies.analyse.bootstrap import ResampledTable, resample_table
from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.numbers import StatTable
from tapioca.studies.measures import Unit
from tapioca.studies.parts import Pooled
from tapioca.studies.results import Finding, KindEstimate, SizeEstimate

Reduction = Callable[[ResampledTable], np.ndarray]


@dataclass(frozen=True, eq=False)
class Measure:
    """One number over models, kinds of shift and strengths.

    Attributes:
        name, unit, decides: as in `Finding`.
        axes: models and kinds of the setting.
        table: the numbers.
        shifted: whether it has kinds of shift; what has none stands at kind 0.
        reduce: what is taken of the table and its resamples, (1 + draw,).
        is_mean: whether that is the mean, so that sizes have one each.
        within: what its values cannot leave, nor can intervals.
    """

    name: str
    unit: Unit
    axes: SettingAxes
    table: StatTable
    decides: bool = True
    shifted: bool = True
    reduce: Reduction = field(default=ResampledTable.mean)
    is_mean: bool = True
    within: tuple[float, float] = (-np.inf, np.inf)

    def with_reduction(self, reduce: Reduction) -> Measure:
        """Something else than the mean of the same numbers."""
        return replace(self, reduce=reduce, is_mean=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds it has numbers of, controls left out."""
        return tuple(kind for kind in self.axes.pooled if self.of_kinds(kind).table) if self.shifted else ()

    def of_kinds(self, *kinds: str) -> Measure:
        """The same of some kinds alone."""
        return self._select(1, {self.axes.kinds.index(kind) for kind in kinds})

    def of_size(self, parameters: float) -> Measure:
        """The same of the models of one size alone."""
        return self._select(0, set(np.flatnonzero(self.axes.parameters == parameters).tolist()))

    def of_strength(self, strength: int) -> Measure:
        """The same of one strength alone."""
        return self._select(2, {strength})

    def _select(self, axis: int, places: set[int]) -> Measure:
        """The same of some places of a `CellIndex` alone."""
        return replace(self, table={index: number for index, number in self.table.items() if index[axis] in places})

    @property
    def without_controls(self) -> Measure:
        """The same without controls."""
        return self.of_kinds(*self.axes.pooled) if self.shifted else self

    @property
    def finite(self) -> StatTable:
        """The numbers that exist."""
        return {index: number for index, number in self.table.items() if np.isfinite(number.value)}

    @property
    def models(self) -> int:
        """How many models have such a number."""
        return len({index[0] for index in self.finite})

    def finite_resamples(self) -> np.ndarray | None:
        """Its value and resamples, (1 + draw,), those that do not exist left out; None where it has no value."""
        values = self.resample()
        return None if values is None or not np.isfinite(values[0]) else values[np.isfinite(values)]

    def resample(self) -> np.ndarray | None:
        """Its value and resamples, (1 + draw,), NaN where a resample has none; None without any number.

        Measures of the same models and kinds are resampled alike.
        """
        finite = self.finite
        if not finite:
            return None
        values = np.full(np.max(list(finite), axis=0) + 1, np.nan)
        for index, number in finite.items():
            values[index] = number.value
        n_draws = max((len(number.resampled) for number in finite.values() if number.resampled is not None), default=0)
        draws = np.repeat(values[..., None], n_draws, axis=-1) if n_draws else None
        for index, number in finite.items():
            if draws is not None and number.resampled is not None:
                draws[index] = np.resize(number.resampled, n_draws)
        study = self.axes.study
        resampled = resample_table(values, draws, study.n_resamples, study.seed)
        return None if resampled is None else np.clip(resampled.widen(self.reduce(resampled)), *self.within)

    def pooled(self) -> Pooled | None:
        """Its value with interval; None where it has none."""
        values = self.finite_resamples()
        if values is None:
            return None
        finite = self.finite
        return Pooled(
            value=float(values[0]),
            ci95=percentile_interval(values),
            p=bootstrap_p(values),
            models=self.models,
            kinds=len({index[1] for index in finite}) if self.shifted else 0,
            cells=sum(statistic.cells for statistic in finite.values()),
            prompts=sum(statistic.prompts for statistic in finite.values()),
        )

    def estimate(self) -> Estimate | None:
        """Its value with interval and nothing else."""
        values = self.finite_resamples()
        return None if values is None else Estimate(value=float(values[0]), ci95=percentile_interval(values))

    def to_finding(self) -> Finding:
        """All of it, for the record."""
        return Finding(
            name=self.name,
            unit=self.unit,
            decides=self.decides,
            pooled=self.without_controls.pooled(),
            kinds=self._estimate_by_kind(self.axes.pooled, corrected=True),
            controls=self._estimate_by_kind(self.axes.setting.controls, corrected=False),
            sizes=self.without_controls.estimate_by_size(None),
            kind_sizes=tuple(row for kind in self.axes.kinds for row in self.of_kinds(kind).estimate_by_size(kind))
            if self.shifted
            else (),
            left_out=len(self.without_controls.table) - len(self.without_controls.finite),
        )

    def estimate_by_size(self, kind: str | None) -> tuple[SizeEstimate, ...]:
        """Its value at every size."""
        of_sizes = []
        for parameters in model_sizes(self.axes) if self.is_mean else ():
            measure_of_size = self.of_size(parameters)
            if estimate := measure_of_size.estimate():
                of_sizes.append(
                    SizeEstimate(parameters=int(parameters), kind=kind, value=estimate, models=measure_of_size.models)
                )
        return tuple(of_sizes)

    def _estimate_by_kind(self, kinds: Sequence[str], corrected: bool) -> tuple[KindEstimate, ...]:
        if not self.shifted:
            return ()
        mean_by_kind = {kind: mean for kind in kinds if (mean := self.of_kinds(kind).pooled())}
        p_values = correct_holm([mean.p for mean in mean_by_kind.values()]) if corrected else [None] * len(mean_by_kind)
        return tuple(
            KindEstimate(kind=kind, value=mean, p_holm=p_holm)
            for (kind, mean), p_holm in zip(mean_by_kind.items(), p_values, strict=True)
        )


def model_sizes(axes: SettingAxes) -> list[float]:
    """The different numbers of parameters, ascending."""
    return sorted(set(axes.parameters[np.isfinite(axes.parameters)].tolist()))
