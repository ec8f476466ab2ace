"""Numbers of interventions: models tuned on shifted data beside their control (C7), and layers at every scale (C8)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tapioca.geometry.profiles import KINDS
from tapioca.studies.analyse.cells import CellIndex, Grid
from tapioca.studies.analyse.log_ratios import Plans, choose, log_ratios, log_ratios_over
from tapioca.studies.analyse.statistics import CellStatistic, StatTable, number, ranks
from tapioca.studies.cell import Cell, Dose

TUNING_TABLES = (
    "tuned_log_ratio",
    "control_log_ratio",
    "control_less_tuned_log_ratio",
    "former_id_log_ratio",
    *(f"former_{kind}_excess" for kind in KINDS),
)
DOSE_TABLES = tuple(f"error_with_{kind}_{end}" for kind in KINDS for end in ("over_scales", "of_random", "less_random"))


class Interventions:
    """All numbers of interventions in a setting.

    Attributes:
        grid: the cells.
        tables: numbers by name; those of one pair stand at strength 0.
        curves: log ratio and deviations of each set of layers at each scale, by (set, outcome, place of the scale).
        alphas: the scales.
        tuned, dosed: pairs measured.
    """

    def __init__(self, grid: Grid, draws: int, seed: int):
        self.grid, self.draws, self.seed = grid, draws, seed
        self.tables: dict[str, StatTable] = {name: {} for name in (*TUNING_TABLES, *DOSE_TABLES)}
        self.curves: dict[tuple[str, str, int], StatTable] = defaultdict(dict)
        self.alphas: tuple[float, ...] = ()
        self.tuned, self.dosed = 0, 0
        for model in range(len(grid.models)):
            for kind, name in enumerate(grid.kinds):
                if name in grid.setting.tuned:
                    self._tuning(model, kind)
                if found := grid.dose(model, kind):
                    self._dose(model, kind, *found)

    def _tuning(self, model: int, kind: int) -> None:
        """The log ratio of a plan searched anew on shifted data after tuning, beside the control's."""
        found = self.grid.tuned(model, kind)
        if found is None:
            return
        self.tuned += 1
        place, (after, control, former) = (model, kind, 0), found
        tuned, kept = self._anew(after), self._anew(control)
        self.tables["tuned_log_ratio"][place], self.tables["control_log_ratio"][place] = tuned, kept
        self.tables["control_less_tuned_log_ratio"][place] = _less(kept, tuned)
        if former is not None:
            self.tables["former_id_log_ratio"][place] = self._anew(former)
            for at, name in enumerate(KINDS):
                excess = former.deviation[at] - former.null_mean[at]
                self.tables[f"former_{name}_excess"][place] = number(excess, former.test.shape[1])

    def _anew(self, cell: Cell) -> CellStatistic:
        best = choose(Plans(cell.kept), cell).best
        return number(log_ratios(cell, self.draws, self.seed)[:, best], cell.test.shape[1])

    def _dose(self, model: int, kind: int, dose: Dose, cell: Cell) -> None:
        """How error and deviations move together over the scales up to 1, of the chosen layers and of random sets."""
        self.dosed += 1
        self.alphas = tuple(dose.alphas.tolist())
        place, prompts = (model, kind, 0), dose.test.shape[-1]
        if choose(Plans(cell.kept), cell).best == 0:  # greedy's plan drops nothing, so it has no layers to scale
            for name in DOSE_TABLES:
                self.tables[name][place] = CellStatistic(np.nan, None, prompts)
            return
        rows = self._log_ratios(dose, cell)
        for at, name in enumerate(KINDS):
            chosen, *random = [
                _together(dose.alphas, one, moved[:, at], prompts)
                for one, moved in zip(rows[:-1], dose.deviation[:-1], strict=True)
            ]
            mean = _mean([found for found in random if np.isfinite(found.value)], prompts)
            self.tables[f"error_with_{name}_over_scales"][place] = chosen
            self.tables[f"error_with_{name}_of_random"][place] = mean
            self.tables[f"error_with_{name}_less_random"][place] = _less(chosen, mean)
        self._curves(place, dose, rows)

    def _log_ratios(self, dose: Dose, cell: Cell) -> np.ndarray:
        """Log ratios over the full model, (set, 1 + draw, scale); NaN where a scale leaves no layer."""
        scores = dose.test.reshape(-1, dose.test.shape[-1])
        there = np.isfinite(scores).all(axis=1)
        full = int(np.flatnonzero(dose.alphas == 1)[0])
        place = int(there[:full].sum())
        found = np.full((1 + self.draws, len(scores)), np.nan)
        found[:, there] = log_ratios_over(scores[there], dose.weights, cell.groups, place, self.draws, self.seed)
        return np.moveaxis(found.reshape(-1, *dose.test.shape[:2]), 1, 0)

    def _curves(self, place: CellIndex, dose: Dose, rows: np.ndarray) -> None:
        """What the dose-response curves draw; random sets are averaged."""
        parts = {"chosen": slice(0, 1), "random": slice(1, -1), "all": slice(-1, None)}
        for name, part in parts.items():
            for at in range(len(dose.alphas)):
                log_ratio, moved = rows[part, :, at].mean(axis=0), dose.deviation[part, at].mean(axis=0)
                if np.isfinite(log_ratio).all():
                    self.curves[name, "log_ratio", at][place] = number(log_ratio, dose.test.shape[-1])
                for kind, value in zip(KINDS, moved, strict=True):
                    self.curves[name, kind, at][place] = CellStatistic(float(value), None, dose.test.shape[-1])


def _together(alphas: np.ndarray, rows: np.ndarray, moved: np.ndarray, prompts: int) -> CellStatistic:
    """Rank correlation over the scales up to 1 of the error with a deviation.

    Args:
        rows: log ratios, (1 + draw, scale); the error rises as they fall.
        moved: deviations, (scale,).
    """
    some = (alphas <= 1) & np.isfinite(rows[0]) & np.isfinite(moved)
    return ranks(-rows[:, some], moved[some], prompts)


def _mean(found: list[CellStatistic], prompts: int) -> CellStatistic:
    if not found:
        return CellStatistic(np.nan, None, prompts)
    draws = [one.draws for one in found if one.draws is not None]
    value = float(np.mean([one.value for one in found]))
    return CellStatistic(value, np.mean(draws, axis=0) if draws else None, prompts)


def _less(first: CellStatistic, second: CellStatistic) -> CellStatistic:
    """A number less another of the same resamples."""
    draws = None if first.draws is None or second.draws is None else first.draws - second.draws
    return CellStatistic(first.value - second.value, draws, first.prompts, first.cells)
