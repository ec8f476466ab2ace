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
from tapioca.studies.cell import Cell, CellKey, DoseResponse, RivalScores, SavedArrays, UnlabelledScores
from tapioca.studies.measure.cells import measure_cell
from tapioca.studies.measure.doses import measure_doses
from tapioca.studies.measure.model import ID, LAB_PREFIX, StudyModel, TaskKey
from tapioca.studies.measure.rivals import measure_rivals
from tapioca.studies.measure.unlabelled import measure_unlabelled
from tapioca.studies.spec import Setting, StudyFile

TASK_PREFIXES = (LAB_PREFIX, "held-out:", "harness:")
"""How names of tasks begin that are no files."""
TuningSource = Literal["shift", "id"]
BESIDE: dict[str, type[SavedArrays]] = {"dose": DoseResponse, "rivals": RivalScores, "unlabelled": UnlabelledScores}
"""What is measured of a kind of shift beside its cells, by the ends of files' names."""
MEASURES: dict[type[SavedArrays], Callable[..., SavedArrays]] = {
    DoseResponse: measure_doses,
    RivalScores: measure_rivals,
    UnlabelledScores: measure_unlabelled,
}
SavedType = TypeVar("SavedType", bound=SavedArrays)


@dataclass(frozen=True)
class ModelWork:
    """One model of a setting, and where what is measured of it goes.

    Attributes:
        place: of the model among the setting's.
        base: folder that files are relative to.
        out: folder of all that is measured.
    """

    study: StudyFile
    setting: Setting
    place: int
    base: Path
    out: Path

    @property
    def model(self) -> Path:
        """The model's folder."""
        return (self.base / self.setting.models[self.place]).resolve()

    @property
    def folder(self) -> Path:
        """Where its files go."""
        return self.out / self.setting.name / self.model.name

    @property
    def names(self) -> dict[TaskKey, str]:
        """Its tasks by kind of shift and strength, ID data as ("id", 0)."""
        names = self._names_in_file | {ID: self.setting.id.format(folder=self.model)}
        return {key: name if name.startswith(TASK_PREFIXES) else str(self.base / name) for key, name in names.items()}

    @property
    def _names_in_file(self) -> dict[TaskKey, str]:
        """The same as the study's file names them."""
        shifts = self.setting.shifts.items()
        return {ID: self.setting.id} | {
            (kind, strength): name for kind, names in shifts for strength, name in enumerate(names)
        }

    @property
    def missing(self) -> str:
        """The first file or folder that is not there; empty if all are."""
        needed = [
            self.model / "config.json",
            self.model / "model.safetensors",
            *(Path(name) for name in self.names.values() if not name.startswith(TASK_PREFIXES)),
        ]
        return next((str(path) for path in needed if not path.exists()), "")

    @property
    def model_bytes(self) -> int:
        """What its weights take on disk."""
        return (self.model / "model.safetensors").stat().st_size

    @property
    def files(self) -> dict[Path, type[SavedArrays]]:
        """Every file there will be, and what is in it."""
        files: dict[Path, type[SavedArrays]] = {self.cell_file(key): Cell for key in self.names}
        for kind in self.setting.pooled:
            files |= {self._file_beside(kind, name): file_type for name, file_type in BESIDE.items()}
        for kind in self.setting.tuned:
            files |= {self.cell_file(key, self._tuned_folder(kind)): Cell for key in (ID, (kind, 0))}
            files[self.cell_file((kind, 0), self._control_folder)] = Cell
        return files

    def name_file(self, path: Path) -> str:
        """A file of `files` as a screen names it."""
        return f"{self.setting.name} {self.model.name} {path.stem}"

    def cell_file(self, key: TaskKey, folder: Path | None = None) -> Path:
        return (folder or self.folder) / f"{key[0]}-{key[1]}.npz"

    def _file_beside(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind}-{name}.npz"

    def _tuned_folder(self, kind: str) -> Path:
        return self.folder / f"tuned-{kind}"

    @property
    def _control_folder(self) -> Path:
        """Of the model tuned on ID data, the control of those tuned on any kind of shift."""
        return self.folder / "tuned-id"

    def load_study_model(self) -> StudyModel:
        """The model with its data."""
        return StudyModel(self.study, self.model.name, load(str(self.model)), self.names, self.place)

    def measure(self) -> Iterator[Path]:
        """Measure what is not there yet; gives every file as it is there.

        Raises:
            TapiocaError: one line about what is wrong with the model or the data.
        """
        bench = self.load_study_model()
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

    def _measure_beside(self, bench: StudyModel, kind: str, measured: Cell) -> Iterator[Path]:
        """What stands beside the cell of the fixed strength."""
        where = self._cell_key(bench, (kind, self.setting.fixed))
        for name, file_type in BESIDE.items():
            path = self._file_beside(kind, name)
            _load_or_measure(path, file_type, partial(MEASURES[file_type], bench, measured=measured), where)
            yield path

    def _measure_tuned(self, model_hash: str, kind: str) -> Iterator[Path]:
        """Cells of the model tuned on a shift: on that, which then counts as its ID data, and on what was ID data."""
        folder, task = self._tuned_folder(kind), self.setting.tuned[kind]
        names = {ID: task, (kind, 0): self.setting.id}
        yield from self._measure_tuned_cells(model_hash, folder, names, "shift", {ID: kind, (kind, 0): kind})

    def _measure_control(self, model_hash: str) -> Iterator[Path]:
        """Cells of the model tuned on ID data, on every kind of shift that others are tuned on."""
        names = {ID: self.setting.id} | {(kind, 0): task for kind, task in self.setting.tuned.items()}
        tuned_on = {(kind, 0): kind for kind in self.setting.tuned}
        yield from self._measure_tuned_cells(model_hash, self._control_folder, names, "id", tuned_on)

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
            task=task_name or self._names_in_file[key],
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
