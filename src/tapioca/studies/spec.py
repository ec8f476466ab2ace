"""What a study asks: models, data and rules, written down before anything runs (`tapioca study`)."""

import shlex
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from tapioca.errors import did_you_mean
from tapioca.records.config import FolderConfig
from tapioca.records.portable import portable_name
from tapioca.studies.rules import Entry, Margins, MeasureName, Rule

Claim = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9_]*$")]
"""What a claim is called, such as "C2"."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class StudyConfig(FolderConfig):
    """The request behind `tapioca study`."""

    file: Path = Field(description="The study's file, such as studies/claims.yaml.")
    out: Path | None = Field(default=None, description="Folder of the results; by default runs/study-NAME.")
    workers: int | None = Field(
        default=None, ge=1, description="Models measured at once; by default one for each core."
    )
    ray: str | None = Field(
        default=None,
        min_length=1,
        description="Measure models on a Ray cluster: the HOST:PORT of its head, or local for this machine; changes no number.",
    )

    dry_run: bool = Field(
        default=False, description="Say what the study would measure, cost and be able to see; measure nothing."
    )

    @property
    def folder(self) -> Path:
        """Where results go."""
        return self.out or Path("runs") / f"study-{self.file.stem}"

    def command(self) -> str:
        """The command line that makes this request, in a folder that holds what it names."""
        out = ["--out", portable_name(str(self.out))] if self.out else []
        return shlex.join(["tapioca", "study", portable_name(str(self.file)), *out])


class Setting(Entry):
    """Models of one kind, their ID data, and the ways in which data drift from it.

    Files are relative to the study's own. In the ID task `{folder}` stands for the model's folder.
    """

    name: Name
    title: str
    models: tuple[Path, ...] = Field(min_length=1, description="Model folders.")
    id: str = Field(description="ID task.")
    shifts: dict[Name, tuple[str, ...]] = Field(
        min_length=1, description="OOD tasks of each kind of shift, by rising strength."
    )
    controls: tuple[Name, ...] = Field(
        default=(), description="Kinds that cannot be seen in the inputs or change nothing; left out of pooled results."
    )
    fixed: int = Field(
        default=2, ge=0, description="Place of the strength whose plan is fixed for dose-response, and that is scaled."
    )
    tuned: dict[Name, str] = Field(
        default={}, description="Of which kinds, and at which task, models are tuned for C7."
    )

    @property
    def pooled(self) -> tuple[str, ...]:
        """The kinds that are no controls."""
        return tuple(kind for kind in self.shifts if kind not in self.controls)

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if "id" in self.shifts:
            raise ValueError("a shift cannot be called 'id', which is what ID data are called; rename it")
        for name in (*self.controls, *self.tuned):
            if name not in self.shifts:
                raise ValueError(f"'{name}' is none of the shifts; {did_you_mean(name, self.shifts)}")
        for kind, tasks in self.shifts.items():
            if self.fixed >= len(tasks):
                raise ValueError(f"shift '{kind}' has {len(tasks)} strengths; expected more than fixed, {self.fixed}")
        return self


class Tuning(Entry):
    """How models are tuned for C7."""

    steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    warmup: int = Field(default=30, ge=0)


class Assumption(Entry):
    """What a study's power is estimated for: an effect that would matter, and the spreads of its table."""

    effect: float = Field(description="Mean over kinds of shift and models; not 0.")
    between_kinds: float = Field(ge=0, description="Standard deviation of the kinds' means.")
    between_models: float = Field(ge=0, description="Standard deviation of the models of one kind, prompts included.")

    @model_validator(mode="after")
    def _check_effect(self) -> Self:
        if not self.effect:
            raise ValueError("effect is 0, which no study can see; expected the effect that would matter")
        return self


class StudyFile(Entry):
    """A study's file."""

    title: str
    seed: int = Field(default=0, ge=0, description="Of the prompts, of the splits and of all that is resampled.")
    search: int = Field(default=64, ge=8, description="Prompts a plan is searched on and geometry is measured on.")
    test: int = Field(default=64, ge=8, description="Prompts plans are judged on.")
    geometry: int | None = Field(
        default=None, ge=8, description="Search prompts that geometry is measured on; all unless said."
    )
    batch_size: int = Field(default=64, ge=1)
    margins: Margins
    min_models: int = Field(ge=1, description="Numbers of fewer models decide nothing.")
    ceiling: float = Field(
        gt=0,
        le=1,
        description="Nothing is decided where the full model's accuracy on OOD data is this high, or at chance.",
    )
    floor: float = Field(default=0.0, ge=0, lt=1, description="Nor where it is no more than this above chance.")
    n_resamples: int = Field(
        default=2000, ge=100, description="Bootstrap resamples of models, kinds of shift and prompts."
    )
    scales: tuple[float, ...] = Field(default=(0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0))
    random_sets: int = Field(default=5, ge=1, description="Random sets of as many layers that are scaled beside.")
    tuning: Tuning = Tuning()
    power: dict[MeasureName, Assumption] = Field(default={}, description="What the study should be able to see.")
    settings: tuple[Setting, ...] = Field(min_length=1)
    claims: dict[Claim, Rule] = Field(min_length=1)
    amended: tuple[str, ...] = Field(default=(), description="What was changed after first results; the page says it.")

    @property
    def geometry_size(self) -> int:
        """Search prompts that geometry is measured on."""
        return min(self.search, self.geometry or self.search)

    @model_validator(mode="after")
    def _check_names_and_scales(self) -> Self:
        if sorted(set(self.scales)) != list(self.scales) or 1.0 not in self.scales:
            raise ValueError(f"scales must rise and hold 1, the full model, got {self.scales}")
        names = [setting.name for setting in self.settings]
        for group_names in (names, *([path.name for path in setting.models] for setting in self.settings)):
            if duplicates := {name for name in group_names if group_names.count(name) > 1}:
                raise ValueError(f"two settings, or two models of one, are called {min(duplicates)}; rename one")
        return self
