"""The cells of one setting in order: by model, kind of shift and strength."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from tapioca.studies.cell import Cell, DoseResponse, RivalScores, SavedArrays, UnlabelledScores
from tapioca.studies.spec import Setting, StudyFile

SavedType = TypeVar("SavedType", bound=SavedArrays)
CellIndex = tuple[int, int, int]
"""Places of a model, a kind and a strength; what has no kind stands at kind 0, strength 0."""


class SettingAxes:
    """What the numbers of one setting are of.

    Attributes:
        study, setting: what was asked.
        models, kinds: names, in the order of the study's file.
        parameters: of the models, (model,); NaN while nothing of one was measured.
    """

    def __init__(self, study: StudyFile, setting: Setting):
        self.study, self.setting = study, setting
        self.models = tuple(path.name for path in setting.models)
        self.kinds = tuple(setting.shifts)
        self.parameters = np.full(len(self.models), np.nan)

    @property
    def pooled(self) -> tuple[str, ...]:
        """The kinds that are no controls."""
        return self.setting.pooled

    @property
    def wanted(self) -> int:
        """Cells of untuned models there should be."""
        return len(self.models) * (1 + sum(map(len, self.setting.shifts.values())))


class CellGrid(SettingAxes):
    """What was measured of one setting.

    Only complete pairs of a model and a kind are used: the ID cell and all strengths of the kind are there.
    """

    def __init__(self, study: StudyFile, setting: Setting, measured: Iterable[SavedArrays]):
        super().__init__(study, setting)
        self._cells: dict[tuple[str, str, int], Cell] = {}
        self._tuned: dict[tuple[str, str, str, bool], Cell] = {}
        self._beside: dict[tuple[type[SavedArrays], str, str], SavedArrays] = {}
        for saved in measured:
            if saved.where.setting == setting.name and saved.where.model in self.models:
                self._add(saved)

    def _add(self, saved: SavedArrays) -> None:
        where = saved.where
        if not isinstance(saved, Cell):
            self._beside[type(saved), where.model, where.kind] = saved
            return
        self.parameters[self.models.index(where.model)] = where.parameters
        if where.tuned:
            self._tuned[where.model, where.tuned_on, where.tuned, where.kind == "id"] = saved
        else:
            self._cells[where.model, where.kind, where.strength] = saved

    @property
    def measured(self) -> int:
        """Those there are."""
        n_tasks = {"id": 1} | {kind: len(tasks) for kind, tasks in self.setting.shifts.items()}
        return sum(strength < n_tasks.get(kind, 0) for _, kind, strength in self._cells)

    def reference(self, model: int) -> Cell | None:
        """The ID cell of a model."""
        return self._cells.get((self.models[model], "id", 0))

    def strengths(self, model: int, kind: int) -> list[Cell] | None:
        """All cells of a pair by rising strength; None where the pair is not complete."""
        name = self.kinds[kind]
        keys = [(self.models[model], name, strength) for strength in range(len(self.setting.shifts[name]))]
        is_complete = self.reference(model) and all(key in self._cells for key in keys)
        return [self._cells[key] for key in keys] if is_complete else None

    def cell(self, index: CellIndex) -> Cell:
        """One cell of a pair that is complete."""
        model, kind, strength = index
        return self._cells[self.models[model], self.kinds[kind], strength]

    def pairs(self) -> Iterator[tuple[int, int, list[Cell]]]:
        """All complete pairs, model by model."""
        for model in range(len(self.models)):
            for kind in range(len(self.kinds)):
                if cells := self.strengths(model, kind):
                    yield model, kind, cells

    def tuned(self, model: int, kind: int) -> tuple[Cell, Cell, Cell | None] | None:
        """The shifted data of a kind under the model tuned on it and under the control tuned on ID data, and what was
        ID data under the former; None where one of the first two is missing."""
        pair_names = self.models[model], self.kinds[kind]
        after, control = self._tuned.get((*pair_names, "shift", True)), self._tuned.get((*pair_names, "id", False))
        former = self._tuned.get((*pair_names, "shift", False))
        return (after, control, former) if after is not None and control is not None else None

    def dose(self, model: int, kind: int) -> tuple[DoseResponse, Cell] | None:
        """The sweep of scales of a pair and the cell whose prompts it is about; None where one is missing."""
        return self._find_beside(DoseResponse, model, kind)

    def rivals(self, model: int, kind: int) -> tuple[RivalScores, Cell] | None:
        """The rivals of greedy's plan, as `dose`."""
        return self._find_beside(RivalScores, model, kind)

    def unlabelled(self, model: int, kind: int) -> tuple[UnlabelledScores, Cell] | None:
        """What criteria without labels say of all plans, as `dose`."""
        return self._find_beside(UnlabelledScores, model, kind)

    def _find_beside(self, file_type: type[SavedType], model: int, kind: int) -> tuple[SavedType, Cell] | None:
        saved = self._beside.get((file_type, self.models[model], self.kinds[kind]))
        cells = self.strengths(model, kind)
        return (saved, cells[self.setting.fixed]) if isinstance(saved, file_type) and cells else None
