"""The numbers of one model of a study in a file of their own: small where its measurements are not, so that a study that was
measured in parts, here and there, can be judged where they are not."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, get_args

import numpy as np

from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.numbers import CellStatistic, SearchCounts, SearchName, SettingNumbers
from tapioca.studies.cell import CellKey, SavedArrays
from tapioca.studies.parts import Scatter

KEPT_DRAWS = 128
"""Resamples of prompts that are kept of a number. Intervals resample models and kinds too and are of many cells, to which
more would add nothing."""
LARGEST_STEP = 127
"""What the largest distance of a resample from its number is stored as, in a byte."""
SEARCH_NAMES = get_args(SearchName)


@dataclass(frozen=True, eq=False)
class ModelNumbers(SavedArrays):
    """`SettingNumbers` of one model. `where` is of no task; its key names all that was measured.

    Attributes:
        asked: names what of the study's file can change these numbers, str.
        measured: cells of the untuned model, int.
        tables, kinds: names, str of shape (table,) and (kind,).
        rows: places in `tables` and `kinds`, strength, prompts and cells of each number, int32 of shape (number, 5).
        values: float64 of shape (number,).
        steps: what one step of a resample is, float32 of shape (number,); NaN where a number has none.
        draws: steps of every resample from its number, int8 of shape (number, draw).
        searches: place in `SEARCH_NAMES` and the three counts of each search, float64 of shape (search, 4).
        layers: by kind, float32 of shape (kind, 5, layer); NaN where a kind is not complete.
        example: a `Scatter` as JSON, or empty, str.
    """

    form = "numbers 1"  # another one where the analysis makes other numbers of the same measurements

    asked: np.ndarray
    measured: np.ndarray
    tables: np.ndarray
    kinds: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    steps: np.ndarray
    draws: np.ndarray
    searches: np.ndarray
    layers: np.ndarray
    example: np.ndarray

    @classmethod
    def pack(cls, numbers: SettingNumbers, where: CellKey, asked: str) -> Self:
        """Take those of one model."""
        axes, place = numbers.axes, numbers.axes.models.index(where.model)
        tables = sorted(name for name, table in numbers.tables.items() if table)
        found = [
            ((row, kind, strength, one.prompts, one.cells), one)
            for row, name in enumerate(tables)
            for (_, kind, strength), one in numbers.tables[name].items()
        ]
        packed_draws = [_pack_draws(one) for _, one in found]
        layers = np.full(
            (len(axes.kinds), *np.shape(next(iter(numbers.layers.values()), ()))), np.nan, dtype=np.float32
        )
        for (_, kind, _), part in numbers.layers.items():
            layers[kind] = part
        example = numbers.examples.get(place)
        return cls(
            where=where,
            asked=np.array(asked),
            measured=np.array(numbers.measured),
            tables=np.array(tables, dtype=str),
            kinds=np.array(axes.kinds, dtype=str),
            rows=np.array([row for row, _ in found], dtype=np.int32).reshape(-1, 5),
            values=np.array([one.value for _, one in found]),
            steps=np.array([step for step, _ in packed_draws], dtype=np.float32),
            draws=np.array([draws for _, draws in packed_draws], dtype=np.int8).reshape(-1, KEPT_DRAWS),
            searches=np.array([(SEARCH_NAMES.index(name), *counts) for name, *counts in numbers.searches]).reshape(
                -1, 4
            ),
            layers=layers,
            example=np.array(example.model_dump_json() if example else ""),
        )

    def unpack(self, axes: SettingAxes) -> SettingNumbers:
        """The numbers again, at the places that models and kinds have among others."""
        place = axes.models.index(self.where.model)
        kind_places = [axes.kinds.index(kind) for kind in self.kinds.tolist()]
        numbers = SettingNumbers(SettingAxes(axes.study, axes.setting), measured=int(self.measured))
        numbers.axes.parameters[place] = self.where.parameters
        columns = zip(self.rows.tolist(), self.values.tolist(), self.steps, self.draws, strict=True)
        for (table, kind, strength, prompts, cells), value, step, draws in columns:
            resampled = None if np.isnan(step) else value + step * draws.astype(float)
            number = CellStatistic(value, resampled, prompts, cells)
            numbers.add(str(self.tables[table]), (place, kind_places[kind], strength), number)
        numbers.searches = [SearchCounts(SEARCH_NAMES[int(name)], *counts) for name, *counts in self.searches.tolist()]
        for kind, layers in zip(kind_places, self.layers.astype(float), strict=True):
            if np.isfinite(layers).any():
                numbers.layers[place, kind, 0] = layers
        if example := str(self.example):
            numbers.examples[place] = Scatter.model_validate_json(example)
        return numbers


def _pack_draws(number: CellStatistic) -> tuple[float, np.ndarray]:
    """A step and how many of them each of the first resamples is away from the number; NaN where there are none."""
    if number.resampled is None or not np.isfinite(number.value):
        return np.nan, np.zeros(KEPT_DRAWS)
    distances = np.resize(number.resampled, KEPT_DRAWS)
    distances = distances - distances.mean()
    step = float(np.abs(distances).max()) / LARGEST_STEP
    return step, np.rint(distances / step) if step else distances


def join_models(axes: SettingAxes, parts: Iterable[ModelNumbers]) -> SettingNumbers:
    """The numbers of a setting from those of its models."""
    return SettingNumbers.join(axes, (part.unpack(axes) for part in parts if part.where.setting == axes.setting.name))
