"""The claims of one setting: the conditions that the study's file names, joined with the numbers they are about."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tapioca.errors import DataError, did_you_mean
from tapioca.studies.analyse.bootstrap import ResampledTable
from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.estimates import Measure, model_sizes
from tapioca.studies.analyse.numbers import SettingNumbers, StatTable
from tapioca.studies.analyse.verdicts import MeasuredCondition, MeasuredRule
from tapioca.studies.measures import UNIT_RANGES, MeasureSpec, Unit, measure_spec
from tapioca.studies.rules import Condition, Rule


@dataclass(frozen=True, eq=False)
class Claims:
    """The claims of one setting.

    Attributes:
        numbers: of what was measured.
    """

    numbers: SettingNumbers

    @property
    def axes(self) -> SettingAxes:
        """Models and kinds of the setting."""
        return self.numbers.axes

    def measured_rule(self, rule: Rule) -> MeasuredRule:
        """A rule with the measures it is about. Without two model sizes there is no line over them, so it is left out."""
        beside = [(measure_spec(name), self.measure(name, decides=False)) for name in rule.beside if self._exists(name)]
        return MeasuredRule(
            self._measured_conditions(rule.supported),
            tuple(self._measured_conditions(alternative) for alternative in rule.not_supported),
            tuple(measure for spec, measure in beside if measure.table or not spec.optional),
        )

    def _measured_conditions(self, conditions: tuple[Condition, ...]) -> tuple[MeasuredCondition, ...]:
        study = self.axes.study
        return tuple(
            MeasuredCondition(
                self.measure(condition.measure),
                condition.side,
                study.margins.resolve_bound(condition.bound),
                study.min_models,
                condition.at,
            )
            for condition in conditions
            if self._exists(condition.measure)
        )

    def _exists(self, name: str) -> bool:
        return not measure_spec(name).line or len(model_sizes(self.axes)) > 1

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
            self.axes,
            self.table(spec.table or name),
            decides=decides,
            shifted=spec.shifted,
            within=spec.range,
        )
        return measure.with_reduction(self._line_reduction(spec)) if spec.line else measure

    def measure_of_table(self, name: str, unit: Unit) -> Measure:
        """A measure of a table that is in no rule."""
        return Measure(name, unit, self.axes, self.table(name), within=UNIT_RANGES[unit])

    def table(self, name: str) -> StatTable:
        """The numbers of one name, of which there may be none.

        Raises:
            DataError: no table is called that.
        """
        tables = self.numbers.tables
        if name not in tables:
            raise DataError(f"unknown table '{name}'; {did_you_mean(name, tables)}")
        return tables[name]

    def line_at(self, parameters: float) -> Measure:
        """The regression line of the log ratio on log parameters, at one size."""
        return self.measure("log_ratio").with_reduction(self._line_at_size(parameters))

    def _line_reduction(self, spec: MeasureSpec) -> Callable[[ResampledTable], np.ndarray]:
        """What is taken of the regression line."""
        log_parameters, sizes = np.log(self.axes.parameters), model_sizes(self.axes)
        if spec.line == "slope":
            return lambda resampled_table: resampled_table.fit_line(log_parameters)[2]
        return self._line_at_size(sizes[0] if spec.line == "smallest" else sizes[-1])

    def _line_at_size(self, parameters: float) -> Callable[[ResampledTable], np.ndarray]:
        log_parameters, log_size = np.log(self.axes.parameters), float(np.log(parameters))

        def line_at(resampled_table: ResampledTable) -> np.ndarray:
            middle, mean, slope = resampled_table.fit_line(log_parameters)
            return np.asarray(mean + slope * (log_size - middle))

        return line_at
