"""From numbers of cells to findings: pooled, by kind of shift and by size, with the intervals claims are decided on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tapioca.records import Estimate
from tapioca.stats import holm, resampled_interval, resampled_p
from tapioca.studies.analyse.bootstrap import Drawn, resample
from tapioca.studies.analyse.cells import Grid
from tapioca.studies.analyse.statistics import StatTable
from tapioca.studies.measures import Unit
from tapioca.studies.parts import Pooled
from tapioca.studies.results import Finding, OfKind, OfSize

Reduce = Callable[[Drawn], np.ndarray]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: how many resamples, from which seed."""

    draws: int
    seed: int


@dataclass(frozen=True, eq=False)
class Measure:
    """One number over models, kinds of shift and strengths.

    Attributes:
        name, unit, decides: as in `Finding`.
        grid: the setting.
        table: the numbers.
        resampling: of the intervals.
        shifted: whether it has kinds of shift; what has none stands at kind 0.
        reduce: what is taken of the table and its resamples, (1 + draw,).
        is_mean: whether that is the mean, so that sizes have one each.
        within: what its values cannot leave, nor can intervals.
    """

    name: str
    unit: Unit
    grid: Grid
    table: StatTable
    resampling: Resampling
    decides: bool = True
    shifted: bool = True
    reduce: Reduce = field(default=Drawn.mean)
    is_mean: bool = True
    within: tuple[float, float] = (-np.inf, np.inf)

    def reduced(self, reduce: Reduce) -> Measure:
        """Something else than the mean of the same numbers."""
        return replace(self, reduce=reduce, is_mean=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds it has numbers of, controls left out."""
        return tuple(kind for kind in self.grid.pooled if self.of(kind).table) if self.shifted else ()

    def of(self, *kinds: str) -> Measure:
        """The same of some kinds alone."""
        at = {self.grid.kinds.index(kind) for kind in kinds}
        return replace(self, table={place: found for place, found in self.table.items() if place[1] in at})

    def of_size(self, parameters: float) -> Measure:
        """The same of the models of one size alone."""
        at = set(np.flatnonzero(self.grid.parameters == parameters).tolist())
        return replace(self, table={place: found for place, found in self.table.items() if place[0] in at})

    @property
    def main(self) -> Measure:
        """The same without controls."""
        return self.of(*self.grid.pooled) if self.shifted else self

    @property
    def models(self) -> int:
        """How many models have such a number."""
        return len({place[0] for place, found in self.table.items() if np.isfinite(found.value)})

    def drawn(self) -> np.ndarray | None:
        """Its value and resamples, (1 + draw,), those that do not exist left out; None where it has no value."""
        found = self.resampled()
        return None if found is None or not np.isfinite(found[0]) else found[np.isfinite(found)]

    def resampled(self) -> np.ndarray | None:
        """Its value and resamples, (1 + draw,), NaN where a resample has none; None without any number.

        Measures of the same models and kinds are resampled alike.
        """
        there = {place: found for place, found in self.table.items() if np.isfinite(found.value)}
        if not there:
            return None
        shape = np.max(list(there), axis=0) + 1
        values = np.full(shape, np.nan)
        for place, found in there.items():
            values[place] = found.value
        sizes = [len(found.draws) for found in there.values() if found.draws is not None]
        draws = np.repeat(values[..., None], max(sizes), axis=-1) if sizes else None
        for place, found in there.items():
            if draws is not None and found.draws is not None:
                draws[place] = np.resize(found.draws, draws.shape[-1])
        drawn = resample(values, draws, self.resampling.draws, self.resampling.seed)
        return None if drawn is None else np.clip(drawn.widened(self.reduce(drawn)), *self.within)

    def pooled(self) -> Pooled | None:
        """Its value with interval; None where it has none."""
        drawn = self.drawn()
        if drawn is None:
            return None
        there = {place: found for place, found in self.table.items() if np.isfinite(found.value)}
        return Pooled(
            value=float(drawn[0]),
            ci95=interval(drawn),
            p=resampled_p(drawn),
            models=self.models,
            kinds=len({place[1] for place in there}) if self.shifted else 0,
            cells=sum(found.cells for found in there.values()),
            prompts=sum(found.prompts for found in there.values()),
        )

    def estimate(self) -> Estimate | None:
        """Its value with interval and nothing else."""
        drawn = self.drawn()
        return None if drawn is None else Estimate(value=float(drawn[0]), ci95=interval(drawn))

    def finding(self) -> Finding:
        """All of it, for the record."""
        return Finding(
            name=self.name,
            unit=self.unit,
            decides=self.decides,
            pooled=self.main.pooled(),
            kinds=self._rows(self.grid.pooled, corrected=True),
            controls=self._rows(self.grid.setting.controls, corrected=False),
            sizes=self.main.sizes(None),
            kind_sizes=tuple(row for kind in self.grid.kinds for row in self.of(kind).sizes(kind))
            if self.shifted
            else (),
            left_out=sum(not np.isfinite(found.value) for found in self.main.table.values()),
        )

    def sizes(self, kind: str | None) -> tuple[OfSize, ...]:
        """Its value at every size."""
        found = []
        for parameters in sizes(self.grid) if self.is_mean else ():
            some = self.of_size(parameters)
            if value := some.estimate():
                found.append(OfSize(parameters=int(parameters), kind=kind, value=value, models=some.models))
        return tuple(found)

    def _rows(self, kinds: Sequence[str], corrected: bool) -> tuple[OfKind, ...]:
        if not self.shifted:
            return ()
        pooled = {kind: value for kind in kinds if (value := self.of(kind).pooled())}
        p = holm([value.p for value in pooled.values()]) if corrected and pooled else [None] * len(pooled)
        return tuple(
            OfKind(kind=kind, value=value, p_holm=one) for (kind, value), one in zip(pooled.items(), p, strict=True)
        )


def sizes(grid: Grid) -> list[float]:
    """The different numbers of parameters, ascending."""
    return sorted(set(grid.parameters[np.isfinite(grid.parameters)].tolist()))


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """Percentile interval; of a value that was not resampled the value twice."""
    return resampled_interval(drawn) if len(drawn) > 1 else (float(drawn[0]), float(drawn[0]))
