"""What a study measures, model by model, and what of it is done already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, get_args

from tapioca.disk import make_folder
from tapioca.errors import StoreError
from tapioca.lab.config import TuneConfig
from tapioca.lab.tune import tune
from tapioca.models.load import load
from tapioca.runs.fingerprint import fingerprint
from tapioca.studies.cell import Cell, Dose, Saved, Where
from tapioca.studies.measure.cells import cell
from tapioca.studies.measure.doses import dose
from tapioca.studies.measure.model import LAB, Bench
from tapioca.studies.spec import Setting, StudyFile

SOURCES = (LAB, "held-out:", "harness:")
"""How names of tasks begin that are no files."""
On = Literal["shift", "id"]
Names = dict[tuple[str, int], str]
One = TypeVar("One", bound=Saved)


@dataclass(frozen=True)
class Part:
    """One model of a setting, and where what is measured of it goes.

    Attributes:
        study: the study.
        setting: one of its settings.
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
    def names(self) -> Names:
        """Its tasks by kind of shift and strength, ID data as ("id", 0)."""
        found = {at: name.format(folder=self.model) if at[0] == "id" else name for at, name in self._said.items()}
        return {at: name if name.startswith(SOURCES) else str(self.base / name) for at, name in found.items()}

    @property
    def _said(self) -> Names:
        """The same as the study's file names them."""
        shifts = self.setting.shifts.items()
        return {("id", 0): self.setting.id} | {
            (kind, at): name for kind, some in shifts for at, name in enumerate(some)
        }

    @property
    def missing(self) -> str:
        """The first file or folder that is not there; empty if all are."""
        needed = [
            self.model / "config.json",
            self.model / "model.safetensors",
            *(Path(name) for name in self.names.values() if not name.startswith(SOURCES)),
        ]
        return next((str(path) for path in needed if not path.exists()), "")

    @property
    def files(self) -> dict[Path, type[Saved]]:
        """Every file there will be, and what is in it."""
        found: dict[Path, type[Saved]] = {self.cell_file(at): Cell for at in self.names}
        found |= {self._dose(kind): Dose for kind in self._scaled}
        for kind in self.setting.tuned:
            for on in get_args(On):
                found |= {self.cell_file((data, 0), self._tuned_folder(kind, on)): Cell for data in ("id", kind)}
        return found

    @property
    def _scaled(self) -> list[str]:
        return [kind for kind in self.setting.shifts if kind not in self.setting.controls]

    def cell_file(self, at: tuple[str, int], folder: Path | None = None) -> Path:
        return (folder or self.folder) / f"{at[0]}-{at[1]}.npz"

    def _dose(self, kind: str) -> Path:
        return self.folder / f"{kind}-dose.npz"

    def _tuned_folder(self, kind: str, on: On) -> Path:
        return self.folder / f"tuned-{kind}-{on}"

    def bench(self) -> Bench:
        """The model with its data."""
        return Bench(self.study, self.model.name, load(str(self.model)), self.names, self.place)

    def measure(self) -> Iterator[Path]:
        """Measure what is not there yet; gives every file as it is there.

        Raises:
            TapiocaError: one line about what is wrong with the model or the data.
        """
        bench = self.bench()
        cells: dict[tuple[str, int], Cell] = {}
        for at in self.names:
            path = self.cell_file(at)
            cells[at] = _kept(path, Cell, partial(cell, bench), self._where(bench, at))
            yield path
        for kind in self._scaled:
            at, path = (kind, self.setting.fixed), self._dose(kind)
            _kept(path, Dose, partial(dose, bench, measured=cells[at]), self._where(bench, at))
            yield path
        for kind, shifted in self.setting.tuned.items():
            data: dict[On, tuple[str, str]] = {"shift": (shifted, self.setting.id), "id": (self.setting.id, shifted)}
            for on, (own, other) in data.items():
                yield from self._tuned(bench.model_hash, kind, on, own, other)

    def _tuned(self, before: str, kind: str, on: On, own: str, other: str) -> Iterator[Path]:
        """The same of the model tuned on one data set, which then counts as its ID data, and the other as the shift.

        Args:
            before: names the weights before tuning.
            kind, on: which tuned model it is.
            own, other: the two data sets.
        """
        folder = self._tuned_folder(kind, on)
        loaded = load(str(self._tune(before, folder, own)))
        bench = Bench(self.study, self.model.name, loaded, {("id", 0): own, (kind, 0): other}, self.place)
        for at in bench.names:
            path = self.cell_file(at, folder)
            where = replace(self._where(bench, at, bench.names[at]), tuned=on, tuned_on=kind)
            _kept(path, Cell, partial(cell, bench), where)
            yield path

    def _tune(self, before: str, folder: Path, task: str) -> Path:
        """The model tuned on a task; what is trained already is not trained again."""
        numbers = {**self.study.tuning.model_dump(), "task": task, "seed": self.study.seed + self.place}
        out = folder / f"model-{fingerprint({**numbers, 'model': before})[:8]}"
        if not (out / "training.json").is_file():  # written last
            make_folder(folder)
            tune(TuneConfig(out=out, model=str(self.model), **numbers))
        return out

    def _where(self, bench: Bench, at: tuple[str, int], said: str = "") -> Where:
        return Where(
            setting=self.setting.name,
            model=self.model.name,
            parameters=bench.loaded.model.num_parameters(),
            kind=at[0],
            strength=at[1],
            task=said or self._said[at],
            key=bench.key(at),
        )


def _kept(path: Path, form: type[One], make: Callable[[Where], One], where: Where) -> One:
    """What a file holds, measured now if it is not there or is of something else."""
    if path.is_file():
        try:
            found = form.load(path)
        except StoreError:
            found = None
        if found is not None and found.where.key == where.key:
            return found
    make_folder(path.parent)
    began = time.perf_counter()
    found = make(where)
    found = replace(found, where=replace(where, seconds=time.perf_counter() - began))
    found.save(path)
    return found
