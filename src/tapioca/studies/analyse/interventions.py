"""Numbers of interventions: models tuned on shifted data beside their control (C7), and layers at every scale (C8)."""

from dataclasses import dataclass

import numpy as np

from tapioca.profiles.profiles import PROFILE_KINDS
from tapioca.studies.analyse.cells import CellIndex
from tapioca.studies.analyse.log_ratios import PlanSet, log_ratios_from_scores, search_cell
from tapioca.studies.analyse.numbers import CellStatistic, dose_table_name, statistic_from_values
from tapioca.studies.analyse.statistics import CellStatistics, correlate_ranks
from tapioca.studies.cell import Cell, DoseResponse, RivalScores


@dataclass(frozen=True, eq=False)
class Interventions:
    """Adds the numbers of interventions in a setting to the tables of its statistics.

    Attributes:
        statistics: of the cells; numbers of one pair stand at strength 0.
    """

    statistics: CellStatistics

    def add(self) -> None:
        """The numbers of every pair of a model and a kind of shift that was intervened on."""
        grid = self.statistics.grid
        for model in range(len(grid.models)):
            for kind, name in enumerate(grid.kinds):
                if name in grid.setting.tuned and (cells := grid.tuned(model, kind)):
                    self._add_tuning((model, kind, 0), *cells)
                if rivals := grid.rivals(model, kind):
                    self._add_rivals((model, kind, 0), *rivals)
                if dose := grid.dose(model, kind):
                    self._add_dose((model, kind, 0), *dose)

    def _add_tuning(self, index: CellIndex, tuned: Cell, control: Cell, former: Cell | None) -> None:
        """The log ratio of a plan searched anew on shifted data after tuning, beside the control's."""
        tables, tuned_ratio, control_ratio = self.statistics.tables, *map(self._log_ratio_anew, (tuned, control))
        tables["tuned_log_ratio"][index], tables["control_log_ratio"][index] = tuned_ratio, control_ratio
        tables["control_less_tuned_log_ratio"][index] = _subtract(control_ratio, tuned_ratio)
        if former is not None:
            tables["former_id_log_ratio"][index] = self._log_ratio_anew(former)
            for row, kind in enumerate(PROFILE_KINDS):
                excess = former.deviation[row] - former.null_mean[row]
                tables[f"former_{kind}_excess"][index] = statistic_from_values(excess, former.test.shape[1])

    def _add_rivals(self, index: CellIndex, rivals: RivalScores, cell: Cell) -> None:
        """What rivals of greedy's plan bring, and it beyond them, at the fixed strength."""
        tables, prompts, study = self.statistics.tables, cell.test.shape[1], self.statistics.grid.study
        best = self.statistics.choices[(*index[:2], cell.where.strength)].best
        scores = np.concatenate([cell.test[[0, best]], rivals.test])
        ratios = log_ratios_from_scores(scores, cell.pairing(study.seed), 0, study.n_resamples)
        for name, of_rival in zip(rivals.names.tolist(), ratios[:, 2:].T, strict=True):
            tables[f"{name}_log_ratio"][index] = statistic_from_values(of_rival, prompts)
            tables[f"log_ratio_less_{name}"][index] = statistic_from_values(ratios[:, 1] - of_rival, prompts)

    def _log_ratio_anew(self, cell: Cell) -> CellStatistic:
        """Of a plan searched on the cell itself."""
        best_plan = search_cell(PlanSet(cell.kept), cell).best
        return statistic_from_values(self.statistics.log_ratios(cell)[:, best_plan], cell.test.shape[1])

    def _add_dose(self, index: CellIndex, dose: DoseResponse, cell: Cell) -> None:
        """How error and deviations move together over the scales up to 1, of the chosen layers and of random sets."""
        prompts, best_plan = dose.test.shape[-1], self.statistics.choices[(*index[:2], cell.where.strength)].best
        ratios_by_set = self._log_ratios_of_scales(dose, cell) if best_plan else None
        for row, name in enumerate(PROFILE_KINDS):
            chosen = random_mean = CellStatistic(np.nan, None, prompts)  # where greedy's plan has no layers to scale
            if ratios_by_set is not None:
                chosen, *random = [
                    _correlate_over_scales(dose.scales, set_ratios, deviations[:, row], prompts)
                    for set_ratios, deviations in zip(ratios_by_set[:-1], dose.deviation[:-1], strict=True)
                ]
                random_mean = _mean_statistic([one for one in random if np.isfinite(one.value)], prompts)
            self.statistics.tables[f"error_with_{name}_over_scales"][index] = chosen
            self.statistics.tables[f"error_with_{name}_of_random"][index] = random_mean
            self.statistics.tables[f"error_with_{name}_less_random"][index] = _subtract(chosen, random_mean)
        if ratios_by_set is not None:
            self._add_curves(index, dose, ratios_by_set)

    def _log_ratios_of_scales(self, dose: DoseResponse, cell: Cell) -> np.ndarray:
        """Log ratios over the full model, (set, 1 + draw, scale); NaN where a scale leaves no layer."""
        scores = dose.test.reshape(-1, dose.test.shape[-1])
        is_measured = np.isfinite(scores).all(axis=1)
        full_scale_index = int(np.flatnonzero(dose.scales == 1)[0])
        full_row = int(is_measured[:full_scale_index].sum())
        study = self.statistics.grid.study
        ratios = np.full((1 + study.n_resamples, len(scores)), np.nan)
        ratios[:, is_measured] = log_ratios_from_scores(
            scores[is_measured], cell.pairing(study.seed), full_row, study.n_resamples
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
                numbers = {
                    str(kind): CellStatistic(float(deviation), None, prompts)
                    for kind, deviation in zip(PROFILE_KINDS, deviations, strict=True)
                }
                if np.isfinite(log_ratio).all():
                    numbers["log_ratio"] = statistic_from_values(log_ratio, prompts)
                for outcome, number in numbers.items():
                    self.statistics.numbers.add(dose_table_name(name, outcome, scale_index), index, number)


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
