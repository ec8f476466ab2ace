"""The claims of one setting: the conditions that the study's file names, joined with the numbers they are about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tapioca.errors import DataError, did_you_mean
from tapioca.studies.analyse.bootstrap import Drawn
from tapioca.studies.analyse.estimates import Measure, Resampling, sizes
from tapioca.studies.analyse.interventions import Interventions
from tapioca.studies.analyse.statistics import CellStatistics, StatTable
from tapioca.studies.analyse.verdicts import MeasuredCondition, MeasuredRule
from tapioca.studies.measures import LIMITS, MeasureSpec, Unit, measure_spec
from tapioca.studies.rules import Condition, Margins, Rule


@dataclass(frozen=True, eq=False)
class Question:
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

    def question(self, rule: Rule) -> Question:
        """A rule with the measures it is about. Without two model sizes there is no line over them, so it is left out."""
        beside = tuple(
            measure
            for name in rule.beside
            if self._exists(spec := measure_spec(name))
            and ((measure := self.measure(name, decides=False)).table or not spec.optional)
        )
        return Question(MeasuredRule(self._side(rule.supported), self._side(rule.not_supported)), beside)

    def _side(self, conditions: tuple[Condition, ...]) -> tuple[MeasuredCondition, ...]:
        return tuple(
            MeasuredCondition(
                self.measure(condition.measure),
                condition.side,
                self.margins.value(condition.bound),
                self.min_models,
                condition.at,
            )
            for condition in conditions
            if self._exists(measure_spec(condition.measure))
        )

    def _exists(self, spec: MeasureSpec) -> bool:
        return not spec.line or len(sizes(self.statistics.grid)) > 1

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
        return measure.reduced(self._reduce(spec)) if spec.line else measure

    def of_table(self, name: str, unit: Unit) -> Measure:
        """A measure of a table that is in no rule."""
        return Measure(name, unit, self.statistics.grid, self.table(name), self.resampling, within=LIMITS[unit])

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
        return self.measure("log_ratio").reduced(self._line(parameters))

    def _reduce(self, spec: MeasureSpec) -> Callable[[Drawn], np.ndarray]:
        """What is taken of the regression line."""
        logs, known = np.log(self.statistics.grid.parameters), sizes(self.statistics.grid)
        if spec.line == "slope":
            return lambda drawn: drawn.line(logs)[2]
        return self._line(known[0] if spec.line == "smallest" else known[-1])

    def _line(self, parameters: float) -> Callable[[Drawn], np.ndarray]:
        logs, log_size = np.log(self.statistics.grid.parameters), float(np.log(parameters))

        def value(drawn: Drawn) -> np.ndarray:
            middle, mean, slope = drawn.line(logs)
            return np.asarray(mean + slope * (log_size - middle))

        return value
