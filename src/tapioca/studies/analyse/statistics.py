"""The numbers of every cell that claims are about, each with what resampled prompts make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.geometry.profiles import KINDS
from tapioca.stats import rank_correlation, resampled_means
from tapioca.studies.analyse.cells import CellIndex, Grid
from tapioca.studies.analyse.labels import CellLabel, label_cell
from tapioca.studies.analyse.log_ratios import PROMPT_COUNTS, Choice, Plans, choose, log_ratios
from tapioca.studies.cell import Cell

FEWEST = 3
"""Points of a rank correlation; of two it says nothing."""


@dataclass(frozen=True, eq=False)
class CellStatistic:
    """One number of one cell.

    Attributes:
        value: NaN where the cell has no such number.
        draws: of resampled prompts, (draw,), moved so that their mean is the value, since resampling biases what is
            not linear; None where it is of no prompts, or they are not resampled.
        prompts: test prompts of the cell.
        cells: how many cells it is of.
    """

    value: float
    draws: np.ndarray | None
    prompts: int
    cells: int = 1


StatTable = dict[CellIndex, CellStatistic]


def log_ratio_from(count: int) -> str:
    """The table of the log ratio of greedy's plan found with so many search prompts."""
    return f"log_ratio_from_{count}_prompts"


TABLES = (
    "id_log_ratio",
    "id_log_ratio_nonempty",
    "log_ratio",
    "id_log_ratio_of_ood_plan",
    "fixed_log_ratio",
    "log_ratio_of_best_on_search",
    "log_ratio_of_its_size",
    "share_of_better_plans",
    "accuracy",
    "accuracy_of_plan",
    *(f"{name}_{end}" for name in ("log_ratio", "fixed_log_ratio") for end in ("at_zero", "with_strength")),
    *map(log_ratio_from, PROMPT_COUNTS),
    *(
        f"{kind}_{name}"
        for kind in KINDS
        for name in (
            "excess",
            "deviation",
            "deviation_at_zero",
            "deviation_with_strength",
            "realignment",
            "realignment_with_log_ratio",
            "share_along_stream",
            "share_by_removal",
        )
    ),
)
"""Names of all tables: one that is not among them is a mistake, and not a table without numbers."""


def number(rows: np.ndarray, prompts: int, cells: int = 1, within: float = np.inf) -> CellStatistic:
    """A number from its value and those of resampled prompts, (1 + draw,).

    Args:
        within: the largest it can be, in size.
    """
    draws = np.clip(rows[1:] - rows[1:].mean() + rows[0], -within, within) if len(rows) > 1 else None
    return CellStatistic(float(rows[0]), draws, prompts, cells)


def ranks(first: np.ndarray, second: np.ndarray, prompts: int, cells: int = 1) -> CellStatistic:
    """Rank correlation of two properties, (1 + draw, point) or (point,); none where one is constant or undefined, or
    there are fewer than three points."""
    one, two = (side[0] if side.ndim == 2 else side for side in (first, second))
    if len(one) < FEWEST or not np.isfinite([one, two]).all() or np.ptp(one) == 0 or np.ptp(two) == 0:
        return CellStatistic(np.nan, None, prompts, cells)
    return number(np.atleast_1d(rank_correlation(*_alike(first, second))), prompts, cells, within=1.0)


def _alike(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shape = np.broadcast_shapes(first.shape, second.shape)
    return np.broadcast_to(first, shape), np.broadcast_to(second, shape)


class CellStatistics:
    """All numbers of a setting.

    Attributes:
        grid: the cells.
        tables: numbers by name, of complete pairs; a table without any stands there too.
        choices: what the searches chose, by place; ID cells by model.
        labels: what the cells truly are.
    """

    def __init__(self, grid: Grid, draws: int, seed: int, margin: float):
        self.grid, self.draws, self.seed, self.margin = grid, draws, seed, margin
        self.tables: dict[str, StatTable] = {name: {} for name in TABLES}
        self.choices: dict[CellIndex, Choice] = {}
        self.reference: dict[int, Choice] = {}
        self.labels: dict[CellIndex, CellLabel] = {}
        for model in range(len(grid.models)):
            self._model(model)

    def plans(self, model: int) -> Plans:
        """All plans of a model; every cell of it has the same."""
        cell = self.grid.reference(model)
        if cell is None:
            raise KeyError(self.grid.models[model])
        return Plans(cell.kept)

    def _model(self, model: int) -> None:
        """All of a model; nothing without its ID cell."""
        reference = self.grid.reference(model)
        if reference is None:
            return
        plans, on_id = self.plans(model), log_ratios(reference, self.draws, self.seed)
        chosen = self.reference[model] = choose(plans, reference)
        for name, best in (("id_log_ratio", chosen.best), ("id_log_ratio_nonempty", chosen.mildest)):
            self._put(name, (model, 0, 0), number(on_id[:, best], reference.test.shape[1]))
        for kind in range(len(self.grid.kinds)):
            if cells := self.grid.strengths(model, kind):
                self._pair(model, kind, cells, plans, on_id)

    def _pair(self, model: int, kind: int, cells: list[Cell], plans: Plans, on_id: np.ndarray) -> None:
        """One kind of shift, strength by strength and over all."""
        choices = [choose(plans, cell) for cell in cells]
        fixed = choices[self.grid.setting.fixed].best
        on_id_prompts = (self.grid.reference(model) or cells[0]).test.shape[1]
        curves = {"log_ratio": [on_id[:, self.reference[model].best]], "fixed_log_ratio": [on_id[:, fixed]]}
        for at, (cell, choice) in enumerate(zip(cells, choices, strict=True)):
            place, rows = (model, kind, at), log_ratios(cell, self.draws, self.seed)
            self.choices[place], self.labels[place] = choice, label_cell(cell, rows, choice.best, self.margin)
            self._put("id_log_ratio_of_ood_plan", place, number(on_id[:, choice.best], on_id_prompts))
            self._log_ratios(place, cell, rows, plans, choice, fixed)
            self._geometry(place, cell, rows, plans, choice)
            curves["log_ratio"].append(rows[:, choice.best])
            curves["fixed_log_ratio"].append(rows[:, fixed])
        self._strengths((model, kind, 0), cells, curves)

    def _put(self, name: str, place: CellIndex, found: CellStatistic) -> None:
        self.tables[name][place] = found

    def _log_ratios(
        self, place: CellIndex, cell: Cell, rows: np.ndarray, plans: Plans, choice: Choice, fixed: int
    ) -> None:
        """What chosen plans bring, beside all plans of the same size."""
        prompts, mine = cell.test.shape[1], rows[:, choice.best]
        size = int(plans.sizes[choice.best])
        peers = plans.of_size(size)
        self._put("log_ratio", place, number(mine, prompts))
        self._put("fixed_log_ratio", place, number(rows[:, fixed], prompts))
        self._put("log_ratio_of_best_on_search", place, number(rows[:, choice.oracle], prompts))
        self._put("log_ratio_of_its_size", place, number(rows[:, peers].mean(axis=1), prompts))
        rank = (rows[0, peers] > mine[0]).sum() / max(len(peers) - 1, 1) if size and len(peers) > 1 else np.nan
        self._put("share_of_better_plans", place, CellStatistic(float(rank), None, prompts))
        for count, few in choice.few.items():
            self._put(log_ratio_from(count), place, number(rows[:, few], prompts))
        if cell.beside.shape[1]:
            groups = cell.groups.tolist()
            right = resampled_means(cell.beside, cell.weights, groups, self.draws, self.seed)
            self._put("accuracy", place, number(right[:, 0], prompts))
            self._put("accuracy_of_plan", place, number(right[:, 1], prompts))

    def _geometry(self, place: CellIndex, cell: Cell, rows: np.ndarray, plans: Plans, choice: Choice) -> None:
        """How the shift deviates, what the plan removes of it, and which layers make it."""
        prompts, size = cell.test.shape[1], int(plans.sizes[choice.best])
        peers = plans.of_size(size)
        layers, singles = plans.singles
        for at, kind in enumerate(KINDS):
            self._put(f"{kind}_excess", place, number(cell.deviation[at] - cell.null_mean[at], prompts))
            self._put(f"{kind}_deviation", place, number(cell.deviation[at], prompts))
            realigned = float(cell.realigned[at, choice.best]) if size else np.nan
            self._put(f"{kind}_realignment", place, CellStatistic(realigned, None, prompts))
            over_plans = ranks(cell.realigned[at, peers], rows[:, peers], prompts)
            self._put(f"{kind}_realignment_with_log_ratio", place, over_plans)
            for way, shares in (("along_stream", cell.along), ("by_removal", cell.removal)):
                self._put(f"{kind}_share_{way}", place, ranks(shares[at, layers], rows[:, singles], prompts))

    def _strengths(self, place: CellIndex, cells: list[Cell], curves: dict[str, list[np.ndarray]]) -> None:
        """Rank correlations over strengths, zero among them: there the log ratios are those on ID data, and a deviation is
        what two ID samples of the size differ by in the mean."""
        prompts, dial = sum(cell.test.shape[1] for cell in cells), np.arange(len(cells) + 1.0)
        for name, columns in curves.items():
            self._put(f"{name}_at_zero", place, number(columns[0], prompts))
            self._put(f"{name}_with_strength", place, ranks(np.stack(columns, axis=1), dial, prompts, len(cells)))
        for at, kind in enumerate(KINDS):
            draws = min(cell.deviation.shape[1] for cell in cells)
            zero = np.full(draws, np.mean([cell.null_mean[at] for cell in cells]))
            self._put(f"{kind}_deviation_at_zero", place, CellStatistic(float(zero[0]), None, prompts))
            columns = [zero, *(cell.deviation[at, :draws] for cell in cells)]
            self._put(
                f"{kind}_deviation_with_strength", place, ranks(np.stack(columns, axis=1), dial, prompts, len(cells))
            )
