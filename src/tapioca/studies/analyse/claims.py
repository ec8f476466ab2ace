"""The claims of one setting: the conditions that the study's file names, joined with the numbers they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tapioca.errors import DataError, did_you_mean
from tapioca.studies.analyse.bootstrap import ResampledTable
from tapioca.studies.analyse.estimates import Measure, Resampling, model_sizes
from tapioca.studies.analyse.interventions import Interventions
from tapioca.studies.analyse.statistics import CellStatistics, StatTable
from tapioca.studies.analyse.verdicts import MeasuredCondition, MeasuredRule
from tapioca.studies.measures import UNIT_RANGES, MeasureSpec, Unit, measure_spec
from tapioca.studies.rules import Condition, Margins, Rule


@dataclass(frozen=True, eq=False)
class MeasuredClaim:
    """A claim in one setting.

    Attributes:
        rule: its conditions.
        beside: measures that are shown and decide nothing.
    """

    rule: MeasuredRule
    beside: tuple[Measure, ...] = ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them, those that decide first."""
        deciding = [condition.measure for condition in (*self.rule.supported, *self.rule.not_supported)]
        return tuple({measure.name: measure for measure in (*deciding, *self.beside)}.values())


class Claims:
    """The claims of one setting.

    Args:
        statistics: what was measured.
        interventions: the same of tuned models and scaled layers.
        margins: what is held to be nothing.
        min_models: numbers of fewer decide nothing.
        resampling: of intervals.
    """

    def __init__(
        self,
        statistics: CellStatistics,
        interventions: Interventions,
        margins: Margins,
        min_models: int,
        resampling: Resampling,
    ):
        self.statistics, self.interventions = statistics, interventions
        self.margins, self.min_models, self.resampling = margins, min_models, resampling

    def measured_claim(self, rule: Rule) -> MeasuredClaim:
        """A rule with the measures it is about. Without two model sizes there is no line over them, so it is left out."""
        beside_measures = tuple(
            measure
            for name in rule.beside
            if self._exists(spec := measure_spec(name))
            and ((measure := self.measure(name, decides=False)).table or not spec.optional)
        )
        return MeasuredClaim(
            MeasuredRule(self._measured_conditions(rule.supported), self._measured_conditions(rule.not_supported)),
            beside_measures,
        )

    def _measured_conditions(self, conditions: tuple[Condition, ...]) -> tuple[MeasuredCondition, ...]:
        return tuple(
            MeasuredCondition(
                self.measure(condition.measure),
                condition.side,
                self.margins.resolve_bound(condition.bound),
                self.min_models,
                condition.at,
            )
            for condition in conditions
            if self._exists(measure_spec(condition.measure))
        )

    def _exists(self, spec: MeasureSpec) -> bool:
        return not spec.line or len(model_sizes(self.statistics.grid)) > 1

    def measure(self, name: str, decides: bool = True) -> Measure:
        """A measure of the catalogue.

        Raises:
            UsageError: there is none of that name.
            DataError: its table is not one that is made.
        """
        spec = measure_spec(name)
        measure = Measure(
            spec.label,
            spec.unit,
            self.statistics.grid,
            self.table(spec.table or name),
            self.resampling,
            decides=decides,
            shifted=spec.shifted,
            within=spec.range,
        )
        return measure.with_reduction(self._line_reduction(spec)) if spec.line else measure

    def measure_of_table(self, name: str, unit: Unit) -> Measure:
        """A measure of a table that is in no rule."""
        return Measure(name, unit, self.statistics.grid, self.table(name), self.resampling, within=UNIT_RANGES[unit])

    def table(self, name: str) -> StatTable:
        """The numbers of one name, of which there may be none.

        Raises:
            DataError: no table is called that.
        """
        tables = {**self.statistics.tables, **self.interventions.tables}
        if name not in tables:
            raise DataError(f"unknown table '{name}'; {did_you_mean(name, tables)}")
        return tables[name]

    def line_at(self, parameters: float) -> Measure:
        """The regression line of the log ratio on log parameters, at one size."""
        return self.measure("log_ratio").with_reduction(self._line_at_size(parameters))

    def _line_reduction(self, spec: MeasureSpec) -> Callable[[ResampledTable], np.ndarray]:
        """What is taken of the regression line."""
        log_parameters, known_sizes = np.log(self.statistics.grid.parameters), model_sizes(self.statistics.grid)
        if spec.line == "slope":
            return lambda resampled_table: resampled_table.fit_line(log_parameters)[2]
        return self._line_at_size(known_sizes[0] if spec.line == "smallest" else known_sizes[-1])

    def _line_at_size(self, parameters: float) -> Callable[[ResampledTable], np.ndarray]:
        log_parameters, log_size = np.log(self.statistics.grid.parameters), float(np.log(parameters))

        def line_at(resampled_table: ResampledTable) -> np.ndarray:
            middle, mean, slope = resampled_table.fit_line(log_parameters)
            return np.asarray(mean + slope * (log_size - middle))

        return line_at
