"""The files of one model of a study: its weights and data, what is measured of it, and the numbers that are left of that."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tapioca.errors import StoreError
from tapioca.runs.fingerprint import fingerprint
from tapioca.studies.cell import Cell, DoseResponse, RivalScores, SavedArrays, UnlabelledScores
from tapioca.studies.measure.model import FIELDS_NOT_MEASURED, ID, LAB_PREFIX, TaskKey
from tapioca.studies.model_numbers import ModelNumbers
from tapioca.studies.spec import Setting, StudyFile

TASK_PREFIXES = (LAB_PREFIX, "held-out:", "harness:")
"""How names of tasks begin that are no files."""
BESIDE: dict[str, type[SavedArrays]] = {"dose": DoseResponse, "rivals": RivalScores, "unlabelled": UnlabelledScores}
"""What is measured of a kind of shift beside its cells, by the ends of files' names."""


@dataclass(frozen=True)
class ModelFiles:
    """One model of a setting, its data, and where what is measured of it goes.

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
        names = self.names_in_file | {ID: self.setting.id.format(folder=self.model)}
        return {key: name if name.startswith(TASK_PREFIXES) else str(self.base / name) for key, name in names.items()}

    @property
    def names_in_file(self) -> dict[TaskKey, str]:
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
            files |= {self.file_beside(kind, name): file_type for name, file_type in BESIDE.items()}
        for kind in self.setting.tuned:
            files |= {self.cell_file(key, self.tuned_folder(kind)): Cell for key in (ID, (kind, 0))}
            files[self.cell_file((kind, 0), self.control_folder)] = Cell
        return files

    @property
    def numbers_file(self) -> Path:
        """What is left of its files once all are there: the numbers that the study is judged by."""
        return self.out / self.setting.name / f"{self.model.name}.npz"

    @property
    def asked(self) -> str:
        """Names what of the study's file can change the numbers of a model."""
        fields = FIELDS_NOT_MEASURED - {"margins", "n_resamples"}
        setting = self.setting.model_dump(mode="json", exclude={"title", "models"})
        study = json.loads(self.study.model_dump_json(exclude=fields))
        return fingerprint({"study": study, "setting": setting, "form": ModelNumbers.form})

    def load_numbers(self) -> ModelNumbers | None:
        """Its numbers, whatever versions they were measured with; None where there are none, or of another study."""
        with suppress(StoreError):
            numbers = ModelNumbers.load(self.numbers_file)
            return numbers if str(numbers.asked) == self.asked else None
        return None

    def name_file(self, path: Path) -> str:
        """A file of `files` as a screen names it."""
        return f"{self.setting.name} {self.model.name} {path.stem}"

    def cell_file(self, key: TaskKey, folder: Path | None = None) -> Path:
        """Of a task, of the untuned model unless another folder is given."""
        return (folder or self.folder) / f"{key[0]}-{key[1]}.npz"

    def file_beside(self, kind: str, name: str) -> Path:
        """Of what is measured beside the cells of a kind of shift, by its name in `BESIDE`."""
        return self.folder / f"{kind}-{name}.npz"

    def tuned_folder(self, kind: str) -> Path:
        """Of the model tuned on a kind of shift."""
        return self.folder / f"tuned-{kind}"

    @property
    def control_folder(self) -> Path:
        """Of the model tuned on ID data, the control of those tuned on any kind of shift."""
        return self.folder / "tuned-id"
