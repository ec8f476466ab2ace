"""What makes a model of the lab: records without torch, so that the command line can read them cheaply."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from tapioca.lab.functions import MAX_DEGREE, MAX_POINTS, Polynomials
from tapioca.records import FolderConfig


class Training(FolderConfig):
    """What every training is asked: given this record, what it names and one machine, the weights follow."""

    out: Path = Field(description="Folder for the model; an interrupted training there is continued.")
    steps: int = Field(default=15_000, ge=1, description="Optimiser steps.")
    batch: int = Field(default=64, ge=1, le=65_536, description="Prompts in a step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Peak learning rate of AdamW.")
    warmup: int = Field(default=500, ge=0, description="Steps of linear warm-up before the cosine decay.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of every batch, and of weights that are new.")


class NewModel(Training):
    """What a training from scratch is asked beside: the shape of the model."""

    layers: int = Field(default=8, ge=1, le=1000, description="Number of layers.")
    width: int = Field(default=64, ge=8, description="Width of the residual stream.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} must be a multiple of twice the {self.heads} heads (rotary positions come in pairs)"
            )
        return self


class TrainConfig(NewModel):
    """The request behind `tapioca lab train`."""

    degree: int = Field(default=3, ge=0, le=MAX_DEGREE, description="Highest degree of the polynomials.")
    least_degree: int | None = Field(
        default=None, ge=0, description="Lowest degree, for a mixture: each prompt's is drawn between the two."
    )
    points: int = Field(default=20, ge=2, le=MAX_POINTS, description="Points in a prompt.")
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the noise on the y that is read.")

    @model_validator(mode="after")
    def _degrees_in_order(self) -> Self:
        if self.least_degree is not None and self.least_degree > self.degree:
            raise ValueError(f"--least-degree {self.least_degree} is above --degree {self.degree}")
        return self

    @property
    def functions(self) -> Polynomials:
        """The in-distribution functions."""
        return Polynomials(degree=self.degree, least_degree=self.least_degree, points=self.points, noise=self.noise)


class TextConfig(NewModel):
    """The request behind `tapioca lab train-text`."""

    task: str = Field(
        min_length=1, description="Questions with answers to learn: a .jsonl, .csv, .parquet or task .yaml file."
    )
    vocabulary: int = Field(default=4000, ge=1, description="Most words the model knows; all others are <unk>.")
    context: int = Field(default=128, ge=2, description="Most tokens the model reads; longer rows are refused.")
    held_out: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the rows never trained on; training.json says how they went."
    )
    steps: int = Field(default=2000, ge=1, description="Optimiser steps.")
    batch: int = Field(default=32, ge=1, le=65_536, description="Rows in a step.")
    warmup: int = Field(default=100, ge=0, description="Steps of linear warm-up before the cosine decay.")


class TuneConfig(Training):
    """The request behind `tapioca lab tune`."""

    model: str = Field(min_length=1, description="In-context learner of the lab to go on from: a folder, or learner.")
    task: str = Field(
        min_length=1, description="What to train it on: lab:SHIFT=STRENGTH, or lab:id for a control tuned equally long."
    )
    steps: int = Field(default=500, ge=1, description="Optimiser steps.")
    learning_rate: float = Field(default=3e-4, gt=0, le=1, description="Peak learning rate of AdamW.")
    warmup: int = Field(default=50, ge=0, description="Steps of linear warm-up before the cosine decay.")

    @field_validator("task")
    @classmethod
    def _is_of_the_lab(cls, task_name: str) -> str:
        if not task_name.startswith("lab:"):
            raise ValueError("a learner is tuned on lab:id or lab:SHIFT=STRENGTH")
        return task_name
