"""The numbers of a setting as verdicts, answers and charts take them; those of models that were measured apart are joined."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.studies.analyse.cells import CellIndex, SettingAxes
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS
from tapioca.studies.measures import MEASURES
from tapioca.studies.parts import Scatter


@dataclass(frozen=True, eq=False)
class CellStatistic:
    """One number of one cell.

    Attributes:
        value: NaN where the cell has no such number.
        resampled: of resampled prompts, (draw,), moved so that their mean is the value, since resampling biases what is
            not linear; None where it is of no prompts, or they are not resampled.
        prompts: test prompts of the cell.
        cells: how many cells it is of.
    """

    value: float
    resampled: np.ndarray | None
    prompts: int
    cells: int = 1


StatTable = dict[CellIndex, CellStatistic]
SearchName = Literal["greedy", "all plans"]
SKILLS = ("full", "pruned", "ridge", "gap", "tail")
"""What the lab compares with predictors that were never trained."""


def log_ratio_table_name(count: int) -> str:
    """The table of the log ratio of greedy's plan found with so many search prompts."""
    return f"log_ratio_from_{count}_prompts"


def dose_table_name(layers: str, outcome: str, scale_index: int) -> str:
    """The table of what a set of layers at one scale does: "log_ratio", or the deviation of a kind of profile."""
    return f"{layers}_layers_{outcome}_at_scale_{scale_index}"


def skill_table_name(skill: str) -> str:
    """The table of one of `SKILLS`."""
    return f"skill_{skill}"


TABLES = {
    *(spec.table or name for name, spec in MEASURES.items()),
    *(f"{name}_at_zero" for name in ("log_ratio", "fixed_log_ratio")),
    *(f"{kind}_deviation{end}" for kind in PROFILE_KINDS for end in ("", "_at_zero")),
    *map(log_ratio_table_name, PROMPT_COUNTS),
    "truth",
    "chance",
}
"""Names of all tables, those that charts alone draw too: one that is not among them is a mistake, and not a table
without numbers. Beside them stand tables of what not every study asks, such as scales."""


def statistic_from_values(values: np.ndarray, prompts: int, cells: int = 1, within: float = np.inf) -> CellStatistic:
    """A number from its value and those of resampled prompts, (1 + draw,), none of which is larger than `within` in size."""
    draws = np.clip(values[1:] - values[1:].mean() + values[0], -within, within) if len(values) > 1 else None
    return CellStatistic(float(values[0]), draws, prompts, cells)


class SearchCounts(NamedTuple):
    """What a search computed, in layers for one prompt."""

    search: SearchName
    plans: float
    tree: float
    scratch: float


@dataclass(eq=False)
class SettingNumbers:
    """All numbers of a setting.

    Attributes:
        axes: models and kinds of shift.
        tables: numbers by name, of complete pairs; a table of `TABLES` without any stands there too.
        measured: cells of untuned models that were measured.
        searches: of every search of greedy, and of every model for all of its plans.
        layers: of a complete pair, at strength 0, a mean over strengths: shares of the deviation along the stream, norm first,
            the log ratio of dropping the layer alone, NaN where it cannot be, and the signed profile, (5, layer).
        examples: of a model, by its place, all plans of the cell with its median correlation, and the correlations of all.
    """

    axes: SettingAxes
    tables: dict[str, StatTable] = field(default_factory=lambda: {name: {} for name in TABLES})
    measured: int = 0
    searches: list[SearchCounts] = field(default_factory=list)
    layers: dict[CellIndex, np.ndarray] = field(default_factory=dict)
    examples: dict[int, Scatter] = field(default_factory=dict)

    @classmethod
    def join(cls, axes: SettingAxes, parts: Iterable[Self]) -> Self:
        """The numbers of several models, each measured apart."""
        joined = cls(axes)
        for part in parts:
            axes.parameters = np.where(np.isfinite(part.axes.parameters), part.axes.parameters, axes.parameters)
            for name, table in part.tables.items():
                joined.tables.setdefault(name, {}).update(table)
            joined.measured += part.measured
            joined.searches += part.searches
            joined.layers |= part.layers
            joined.examples |= part.examples
        return joined

    def add(self, table: str, index: CellIndex, number: CellStatistic) -> None:
        """Add a number to a table, which is made if it is not there."""
        self.tables.setdefault(table, {})[index] = number

    def count_complete(self, model: int) -> int:
        """Kinds of shift of which every strength of a model was measured."""
        return len({kind for place, kind, _ in self.tables["log_ratio"] if place == model})
