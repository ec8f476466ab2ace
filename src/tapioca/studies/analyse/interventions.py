"""Numbers of interventions: models tuned on shifted data beside their control (C7), and layers at every scale (C8)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.studies.analyse.cells import CellGrid, CellIndex
from tapioca.studies.analyse.log_ratios import PlanSet, log_ratios_from_scores, measure_log_ratios, search_cell
from tapioca.studies.analyse.statistics import CellStatistic, StatTable, correlate_ranks, statistic_from_values
from tapioca.studies.cell import Cell, DoseResponse

TUNING_TABLES = (
    "tuned_log_ratio",
    "control_log_ratio",
    "control_less_tuned_log_ratio",
    "former_id_log_ratio",
    *(f"former_{kind}_excess" for kind in PROFILE_KINDS),
)
DOSE_TABLES = tuple(
    f"error_with_{kind}_{end}" for kind in PROFILE_KINDS for end in ("over_scales", "of_random", "less_random")
)


@dataclass(eq=False)
class Interventions:
    """All numbers of interventions in a setting.

    Attributes:
        grid: the cells.
        draws, seed: of what is resampled.
        tables: numbers by name; those of one pair stand at strength 0.
        curves: log ratio and deviations of each set of layers at each scale, by (set, outcome, place of the scale).
        alphas: the scales.
        tuned, dosed: pairs measured.
    """

    grid: CellGrid
    draws: int
    seed: int
    tables: dict[str, StatTable] = field(default_factory=lambda: {name: {} for name in (*TUNING_TABLES, *DOSE_TABLES)})
    curves: dict[tuple[str, str, int], StatTable] = field(default_factory=lambda: defaultdict(dict))
    alphas: tuple[float, ...] = ()
    tuned: int = 0
    dosed: int = 0

    @classmethod
    def measure(cls, grid: CellGrid, draws: int, seed: int) -> Self:
        """The numbers of every pair of a model and a kind of shift that was intervened on."""
        interventions = cls(grid, draws, seed)
        for model_index in range(len(grid.models)):
            for kind_index, name in enumerate(grid.kinds):
                if name in grid.setting.tuned:
                    interventions._add_tuning(model_index, kind_index)
                if dose_and_cell := grid.dose(model_index, kind_index):
                    interventions._add_dose(model_index, kind_index, *dose_and_cell)
        return interventions

    def _add_tuning(self, model: int, kind: int) -> None:
        """The log ratio of a plan searched anew on shifted data after tuning, beside the control's."""
        tuned_cells = self.grid.tuned(model, kind)
        if tuned_cells is None:
            return
        self.tuned += 1
        index, (tuned_cell, control_cell, former_cell) = (model, kind, 0), tuned_cells
        tuned_ratio, control_ratio = map(self._log_ratio_searched_anew, (tuned_cell, control_cell))
        self.tables["tuned_log_ratio"][index], self.tables["control_log_ratio"][index] = tuned_ratio, control_ratio
        self.tables["control_less_tuned_log_ratio"][index] = _subtract(control_ratio, tuned_ratio)
        if former_cell is not None:
            self.tables["former_id_log_ratio"][index] = self._log_ratio_searched_anew(former_cell)
            for row, profile_kind in enumerate(PROFILE_KINDS):
                excess = former_cell.deviation[row] - former_cell.null_mean[row]
                statistic = statistic_from_values(excess, former_cell.test.shape[1])
                self.tables[f"former_{profile_kind}_excess"][index] = statistic

    def _log_ratio_searched_anew(self, cell: Cell) -> CellStatistic:
        best_plan = search_cell(PlanSet(cell.kept), cell).best
        return statistic_from_values(measure_log_ratios(cell, self.draws, self.seed)[:, best_plan], cell.test.shape[1])

    def _add_dose(self, model: int, kind: int, dose: DoseResponse, cell: Cell) -> None:
        """How error and deviations move together over the scales up to 1, of the chosen layers and of random sets."""
        self.dosed += 1
        self.alphas = tuple(dose.scales.tolist())
        index, prompts = (model, kind, 0), dose.test.shape[-1]
        if search_cell(PlanSet(cell.kept), cell).best == 0:  # greedy's plan drops nothing, so it has no layers to scale
            for name in DOSE_TABLES:
                self.tables[name][index] = CellStatistic(np.nan, None, prompts)
            return
        ratios_by_set = self._log_ratios_of_scales(dose, cell)
        for row, name in enumerate(PROFILE_KINDS):
            chosen, *random = [
                _correlate_over_scales(dose.scales, set_ratios, deviations[:, row], prompts)
                for set_ratios, deviations in zip(ratios_by_set[:-1], dose.deviation[:-1], strict=True)
            ]
            random_mean = _mean_statistic([statistic for statistic in random if np.isfinite(statistic.value)], prompts)
            self.tables[f"error_with_{name}_over_scales"][index] = chosen
            self.tables[f"error_with_{name}_of_random"][index] = random_mean
            self.tables[f"error_with_{name}_less_random"][index] = _subtract(chosen, random_mean)
        self._add_curves(index, dose, ratios_by_set)

    def _log_ratios_of_scales(self, dose: DoseResponse, cell: Cell) -> np.ndarray:
        """Log ratios over the full model, (set, 1 + draw, scale); NaN where a scale leaves no layer."""
        scores = dose.test.reshape(-1, dose.test.shape[-1])
        is_measured = np.isfinite(scores).all(axis=1)
        full_scale_index = int(np.flatnonzero(dose.scales == 1)[0])
        full_row = int(is_measured[:full_scale_index].sum())
        ratios = np.full((1 + self.draws, len(scores)), np.nan)
        ratios[:, is_measured] = log_ratios_from_scores(
            scores[is_measured], cell.pairing(self.seed), full_row, self.draws
        )
        return np.moveaxis(ratios.reshape(-1, *dose.test.shape[:2]), 1, 0)

    def _add_curves(self, index: CellIndex, dose: DoseResponse, ratios_by_set: np.ndarray) -> None:
        """What the dose-response curves draw; random sets are averaged."""
        prompts = dose.test.shape[-1]
        slice_by_name = {"chosen": slice(0, 1), "random": slice(1, -1), "all": slice(-1, None)}
        for name, set_slice in slice_by_name.items():
            for scale_index in range(len(dose.scales)):
                log_ratio = ratios_by_set[set_slice, :, scale_index].mean(axis=0)
                deviations = dose.deviation[set_slice, scale_index].mean(axis=0)
                if np.isfinite(log_ratio).all():
                    self.curves[name, "log_ratio", scale_index][index] = statistic_from_values(log_ratio, prompts)
                for kind, deviation in zip(PROFILE_KINDS, deviations, strict=True):
                    self.curves[name, kind, scale_index][index] = CellStatistic(float(deviation), None, prompts)


def _correlate_over_scales(
    alphas: np.ndarray, ratios: np.ndarray, deviations: np.ndarray, prompts: int
) -> CellStatistic:
    """Rank correlation over the scales up to 1 of the error with a deviation.

    Args:
        ratios: log ratios, (1 + draw, scale); the error rises as they fall.
        deviations: (scale,).
    """
    is_used = (alphas <= 1) & np.isfinite(ratios[0]) & np.isfinite(deviations)
    return correlate_ranks(-ratios[:, is_used], deviations[is_used], prompts)


def _mean_statistic(statistics: list[CellStatistic], prompts: int) -> CellStatistic:
    if not statistics:
        return CellStatistic(np.nan, None, prompts)
    draws = [statistic.resampled for statistic in statistics if statistic.resampled is not None]
    mean_value = float(np.mean([statistic.value for statistic in statistics]))
    return CellStatistic(mean_value, np.mean(draws, axis=0) if draws else None, prompts)


def _subtract(first: CellStatistic, second: CellStatistic) -> CellStatistic:
    """A number less another of the same resamples."""
    draws = None if first.resampled is None or second.resampled is None else first.resampled - second.resampled
    return CellStatistic(first.value - second.value, draws, first.prompts, first.cells)
