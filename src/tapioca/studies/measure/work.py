"""What a study measures, model by model, and what of it is done already."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from tapioca.disk import make_folder
from tapioca.errors import StoreError
from tapioca.lab.config import TuneConfig
from tapioca.lab.train import tune
from tapioca.models.load import load
from tapioca.runs.fingerprint import fingerprint
from tapioca.studies.analyse.cells import CellGrid
from tapioca.studies.analyse.collect import measure_numbers
from tapioca.studies.cell import Cell, CellKey, DoseResponse, RivalScores, SavedArrays, UnlabelledScores
from tapioca.studies.measure.cells import measure_cell
from tapioca.studies.measure.doses import measure_doses
from tapioca.studies.measure.files import BESIDE, ModelFiles
from tapioca.studies.measure.model import ID, StudyModel, TaskKey
from tapioca.studies.measure.rivals import measure_rivals
from tapioca.studies.measure.unlabelled import measure_unlabelled
from tapioca.studies.model_numbers import ModelNumbers

TuningSource = Literal["shift", "id"]
MEASURES: dict[type[SavedArrays], Callable[..., SavedArrays]] = {
    DoseResponse: measure_doses,
    RivalScores: measure_rivals,
    UnlabelledScores: measure_unlabelled,
}
SavedType = TypeVar("SavedType", bound=SavedArrays)


@dataclass(frozen=True)
class ModelWork(ModelFiles):
    """One model of a setting, measured into its files."""

    def load_study_model(self) -> StudyModel:
        """The model with its data."""
        return StudyModel(self.study, self.model.name, load(str(self.model)), self.names, self.place)

    def measure(self) -> Iterator[Path]:
        """Measure what is not there yet, and write the numbers of all; gives every file as it is there.

        Where the numbers are there, nothing is measured; if the model is missing, they are taken as they are.

        Raises:
            TapiocaError: one line about what is wrong with the model or the data.
        """
        numbers = self.load_numbers()
        if numbers and self.missing:
            yield from self.files
            return
        bench = self.load_study_model()
        data = [half.digest for key in self.names for half in bench.tasks[key]]
        key = fingerprint({"asked": self.asked, "model": bench.model_hash, "data": data})
        if numbers and numbers.where.key == key:
            yield from self.files
            return
        yield from self._measure_files(bench)
        self._write_numbers(key)

    def _measure_files(self, bench: StudyModel) -> Iterator[Path]:
        """Measure what is not there yet, file by file."""
        cell_by_key: dict[TaskKey, Cell] = {}
        for key in self.names:
            path = self.cell_file(key)
            cell_by_key[key] = _load_or_measure(path, Cell, partial(measure_cell, bench), self._cell_key(bench, key))
            yield path
        for kind in self.setting.pooled:
            yield from self._measure_beside(bench, kind, cell_by_key[kind, self.setting.fixed])
        for kind in self.setting.tuned:
            yield from self._measure_tuned(bench.model_hash, kind)
        if self.setting.tuned:
            yield from self._measure_control(bench.model_hash)

    def _write_numbers(self, key: str) -> None:
        """Write the numbers of what was measured, all of which is there."""
        measured = [file_type.load(path) for path, file_type in self.files.items()]
        where = CellKey(
            setting=self.setting.name,
            model=self.model.name,
            parameters=measured[0].where.parameters,
            kind="",
            strength=0,
            task="",
            key=key,
            seconds=sum(saved.where.seconds for saved in measured),
        )
        numbers = measure_numbers(CellGrid(self.study, self.setting, measured))
        ModelNumbers.pack(numbers, where, self.asked).save(self.numbers_file)

    def _measure_beside(self, bench: StudyModel, kind: str, measured: Cell) -> Iterator[Path]:
        """What stands beside the cell of the fixed strength."""
        where = self._cell_key(bench, (kind, self.setting.fixed))
        for name, file_type in BESIDE.items():
            path = self.file_beside(kind, name)
            _load_or_measure(path, file_type, partial(MEASURES[file_type], bench, measured=measured), where)
            yield path

    def _measure_tuned(self, model_hash: str, kind: str) -> Iterator[Path]:
        """Cells of the model tuned on a shift: on that, which then counts as its ID data, and on what was ID data."""
        folder, task = self.tuned_folder(kind), self.setting.tuned[kind]
        names = {ID: task, (kind, 0): self.setting.id}
        yield from self._measure_tuned_cells(model_hash, folder, names, "shift", {ID: kind, (kind, 0): kind})

    def _measure_control(self, model_hash: str) -> Iterator[Path]:
        """Cells of the model tuned on ID data, on every kind of shift that others are tuned on."""
        names = {ID: self.setting.id} | {(kind, 0): task for kind, task in self.setting.tuned.items()}
        tuned_on = {(kind, 0): kind for kind in self.setting.tuned}
        yield from self._measure_tuned_cells(model_hash, self.control_folder, names, "id", tuned_on)

    def _measure_tuned_cells(
        self,
        model_hash: str,
        folder: Path,
        names: dict[TaskKey, str],
        source: TuningSource,
        tuned_on: dict[TaskKey, str],
    ) -> Iterator[Path]:
        """Cells of the model tuned on what `names` calls ID data.

        Args:
            tuned_on: the cells to measure, and the kind of shift that each stands for.
        """
        loaded = load(str(self._tune(model_hash, folder, names[ID])))
        bench = StudyModel(self.study, self.model.name, loaded, names, self.place)
        for key, kind in tuned_on.items():
            path = self.cell_file(key, folder)
            where = replace(self._cell_key(bench, key, names[key]), tuned=source, tuned_on=kind)
            _load_or_measure(path, Cell, partial(measure_cell, bench), where)
            yield path

    def _tune(self, model_hash: str, folder: Path, task: str) -> Path:
        """The model tuned on a task; what is trained already is not trained again."""
        settings = {**self.study.tuning.model_dump(), "task": task, "seed": self.study.seed + self.place}
        out = folder / f"model-{fingerprint({**settings, 'model': model_hash})[:8]}"
        if not (out / "training.json").is_file():  # written last
            make_folder(folder)
            tune(TuneConfig(out=out, model=str(self.model), **settings))
        return out

    def _cell_key(self, bench: StudyModel, key: TaskKey, task_name: str = "") -> CellKey:
        return CellKey(
            setting=self.setting.name,
            model=self.model.name,
            parameters=bench.loaded.model.num_parameters(),
            kind=key[0],
            strength=key[1],
            task=task_name or self.names_in_file[key],
            key=bench.cell_fingerprint(key),
        )


def _load_or_measure(
    path: Path, file_type: type[SavedType], make: Callable[[CellKey], SavedType], where: CellKey
) -> SavedType:
    """What a file holds, measured now if it is not there or is of something else."""
    with suppress(StoreError):  # it is not there, or broken
        if (saved := file_type.load(path)).where.key == where.key:
            return saved
    make_folder(path.parent)
    start_time = time.process_time()
    saved = make(where)
    saved = replace(saved, where=replace(where, seconds=time.process_time() - start_time))
    saved.save(path)
    return saved
