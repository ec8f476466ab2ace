"""The numbers of every cell that claims are about, each with what resampled prompts make of it."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from tapioca.profiles.many_plans import REALIGNMENT_DEFINITIONS
from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.records.results import ProfileKind
from tapioca.stats import rank_correlation
from tapioca.studies.analyse.cells import CellGrid, CellIndex
from tapioca.studies.analyse.labels import label_cell
from tapioca.studies.analyse.log_ratios import Choice, PlanSet, measure_log_ratios, search_cell
from tapioca.studies.analyse.numbers import (
    CellStatistic,
    SettingNumbers,
    StatTable,
    log_ratio_table_name,
    statistic_from_values,
)
from tapioca.studies.cell import Cell
from tapioca.studies.parts import TRUTHS

REALIGNMENT_TABLES: dict[str, dict[ProfileKind, str]] = {
    "raw": {"norm": "norm_realignment", "distance": "distance_realignment"},
    "raw_same_plan": {"norm": "norm_realignment_to_same_plan", "distance": "distance_realignment_to_same_plan"},
    "unit": {"distance": "unit_distance_realignment"},
    "unit_same_plan": {"distance": "unit_distance_realignment_to_same_plan"},
}
"""By definition (`REALIGNMENT_DEFINITIONS`) and kind of profile; the norms of directions are all 1."""
MIN_POINTS = 3
"""Points of a rank correlation; of two it says nothing."""


def correlate_ranks(first: np.ndarray, second: np.ndarray, prompts: int, cells: int = 1) -> CellStatistic:
    """Rank correlation of two properties, (1 + draw, point) or (point,); none where one is constant or undefined, or
    there are fewer than three points."""
    values = np.array([side[0] if side.ndim == 2 else side for side in (first, second)])
    if values.shape[1] < MIN_POINTS or not np.isfinite(values).all() or not np.ptp(values, axis=1).all():
        return CellStatistic(np.nan, None, prompts, cells)
    correlation = rank_correlation(*np.broadcast_arrays(first, second))
    return statistic_from_values(np.atleast_1d(correlation), prompts, cells, within=1.0)


@dataclass(eq=False)
class CellStatistics:
    """All numbers of a setting.

    Attributes:
        grid: the cells.
        numbers: those that are of complete pairs.
        choices: what the searches chose, by place; `reference` on ID cells, by model.
    """

    grid: CellGrid
    numbers: SettingNumbers
    choices: dict[CellIndex, Choice] = field(default_factory=dict)
    reference: dict[int, Choice] = field(default_factory=dict)

    @classmethod
    def measure(cls, grid: CellGrid) -> Self:
        """The numbers of every model of a setting."""
        statistics = cls(grid, SettingNumbers(grid, measured=grid.measured))
        for model in range(len(grid.models)):
            statistics._add_model(model)
        return statistics

    def log_ratios(self, cell: Cell) -> np.ndarray:
        """Test log ratios of every plan, and those of resampled prompts, (1 + draw, plan)."""
        return measure_log_ratios(cell, self.grid.study.n_resamples, self.grid.study.seed)

    @property
    def tables(self) -> dict[str, StatTable]:
        """The numbers by name."""
        return self.numbers.tables

    def plans(self, model: int) -> PlanSet:
        """All plans of a model; every cell of it has the same."""
        cell = self.grid.reference(model)
        if cell is None:
            raise KeyError(self.grid.models[model])
        return PlanSet(cell.kept)

    def _add_model(self, model: int) -> None:
        """All of a model; nothing without its ID cell."""
        reference = self.grid.reference(model)
        if reference is None:
            return
        plans, id_ratios = self.plans(model), self.log_ratios(reference)
        id_choice = self.reference[model] = search_cell(plans, reference)
        for name, best in (("id_log_ratio", id_choice.best), ("id_log_ratio_nonempty", id_choice.best_nonempty)):
            self.tables[name][model, 0, 0] = statistic_from_values(id_ratios[:, best], reference.test.shape[1])
        for kind in range(len(self.grid.kinds)):
            if cells := self.grid.strengths(model, kind):
                self._add_pair(model, kind, cells, plans, id_ratios)

    def _add_pair(self, model: int, kind: int, cells: list[Cell], plans: PlanSet, id_ratios: np.ndarray) -> None:
        """One kind of shift, strength by strength and over all."""
        choices = [search_cell(plans, cell) for cell in cells]
        fixed_plan, chosen = choices[self.grid.setting.fixed].best, self.reference[model].best
        id_prompts = self.tables["id_log_ratio"][model, 0, 0].prompts
        curves = {"log_ratio": [id_ratios[:, chosen]], "fixed_log_ratio": [id_ratios[:, fixed_plan]]}
        for strength, (cell, choice) in enumerate(zip(cells, choices, strict=True)):
            index, ratios = (model, kind, strength), self.log_ratios(cell)
            self.choices[index] = choice
            label = label_cell(cell, ratios, choice.best, self.grid.study.margins.log_ratio)
            for name, value in (("truth", TRUTHS.index(label.truth)), ("chance", float(cell.chance))):
                self.tables[name][index] = CellStatistic(value, None, cell.test.shape[1])
            on_id = statistic_from_values(id_ratios[:, choice.best], id_prompts)
            self.tables["id_log_ratio_of_ood_plan"][index] = on_id
            self._add_log_ratios(index, cell, ratios, plans, fixed_plan)
            self._add_geometry(index, cell, ratios, plans)
            curves["log_ratio"].append(ratios[:, choice.best])
            curves["fixed_log_ratio"].append(ratios[:, fixed_plan])
        self._add_strength_correlations((model, kind, 0), cells, curves)

    def _add_log_ratios(
        self, index: CellIndex, cell: Cell, ratios: np.ndarray, plans: PlanSet, fixed_plan: int
    ) -> None:
        """What chosen plans bring, beside all plans of the same size."""
        choice, prompts = self.choices[index], cell.test.shape[1]
        size = int(plans.sizes[choice.best])
        peers = plans.of_size(size)
        values_by_table = {
            "log_ratio": ratios[:, choice.best],
            "fixed_log_ratio": ratios[:, fixed_plan],
            "log_ratio_of_best_on_search": ratios[:, choice.oracle],
            "log_ratio_of_its_size": ratios[:, peers].mean(axis=1),
            **{log_ratio_table_name(count): ratios[:, few_plan] for count, few_plan in choice.few.items()},
        }
        if cell.companion.shape[1]:
            study = self.grid.study
            accuracies = cell.pairing(study.seed).resample_means(cell.companion, study.n_resamples)
            values_by_table |= dict(zip(("accuracy", "accuracy_of_plan"), accuracies.T, strict=True))
        for name, values in values_by_table.items():
            self.tables[name][index] = statistic_from_values(values, prompts)
        is_better = ratios[0, peers] > ratios[0, choice.best]
        better_share = float(is_better.sum() / (len(peers) - 1)) if size and len(peers) > 1 else np.nan
        self.tables["share_of_better_plans"][index] = CellStatistic(better_share, None, prompts)

    def _add_geometry(self, index: CellIndex, cell: Cell, ratios: np.ndarray, plans: PlanSet) -> None:
        """How the shift deviates, what the plan removes of it, and which layers make it."""
        prompts, best = cell.test.shape[1], self.choices[index].best
        size = int(plans.sizes[best])
        peers = plans.of_size(size)
        layers, singles = plans.single_layer_plans
        for row, kind in enumerate(PROFILE_KINDS):
            deviation = cell.deviation[row]
            statistics = {
                "excess": statistic_from_values(deviation - cell.null_mean[row], prompts),
                "deviation": statistic_from_values(deviation, prompts),
                "share_along_stream": correlate_ranks(cell.along[row, layers], ratios[:, singles], prompts),
                "share_by_removal": correlate_ranks(cell.removal[row, layers], ratios[:, singles], prompts),
            }
            for name, statistic in statistics.items():
                self.tables[f"{kind}_{name}"][index] = statistic
        self._add_realignments(index, cell, ratios, best, peers)

    def _add_realignments(self, index: CellIndex, cell: Cell, ratios: np.ndarray, best: int, peers: np.ndarray) -> None:
        """By every definition."""
        prompts = cell.test.shape[1]
        for definition, names in REALIGNMENT_TABLES.items():
            by_kind = cell.realigned[REALIGNMENT_DEFINITIONS.index(definition)]
            for kind, name in names.items():
                by_plan = by_kind[PROFILE_KINDS.index(kind)]
                realigned = float(by_plan[best]) if best else np.nan
                self.tables[name][index] = CellStatistic(realigned, None, prompts)
                correlation = correlate_ranks(by_plan[peers], ratios[:, peers], prompts)
                self.tables[f"{name}_with_log_ratio"][index] = correlation

    def _add_strength_correlations(
        self, index: CellIndex, cells: list[Cell], curves: dict[str, list[np.ndarray]]
    ) -> None:
        """Rank correlations over strengths, zero among them: there the log ratios are those on ID data, and a deviation is
        what two ID samples of the size differ by in the mean."""
        prompts, strengths = sum(cell.test.shape[1] for cell in cells), np.arange(len(cells) + 1.0)

        def correlate(columns: list[np.ndarray]) -> CellStatistic:
            return correlate_ranks(np.stack(columns, axis=1), strengths, prompts, len(cells))

        for name, columns in curves.items():
            self.tables[f"{name}_at_zero"][index] = statistic_from_values(columns[0], prompts)
            self.tables[f"{name}_with_strength"][index] = correlate(columns)
        for row, kind in enumerate(PROFILE_KINDS):
            draws = min(cell.deviation.shape[1] for cell in cells)
            on_id = float(np.mean([cell.null_mean[row] for cell in cells]))
            self.tables[f"{kind}_deviation_at_zero"][index] = CellStatistic(on_id, None, prompts)
            columns = [np.full(draws, on_id), *(cell.deviation[row, :draws] for cell in cells)]
            self.tables[f"{kind}_deviation_with_strength"][index] = correlate(columns)
