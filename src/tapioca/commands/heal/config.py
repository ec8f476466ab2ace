"""What a user asks of `tapioca heal`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from tapioca.records.config import FolderConfig, write_command

Source = Literal["labels", "teacher", "answers"]
"""What a student learns from."""


class HealConfig(FolderConfig):
    """The request behind `tapioca heal`."""

    run: Path = Field(description="Folder of a finished `tapioca prune`, for instance runs/first.")
    out: Path | None = Field(
        default=None, description="Folder of the results; by default the run's with -healed behind it."
    )
    plan: str | None = Field(
        default=None, min_length=1, description="A plan file, or its JSON, to heal instead of the run's plan."
    )
    by: Source = Field(
        default="labels",
        description="Learn the right answers (labels); without any, the full model's outputs and its states after the same layers (teacher), or the answers that it writes or chooses itself (answers).",
    )
    full: bool = Field(
        default=False, description="Train all weights; by default LoRA adapters, which are merged afterwards."
    )
    data: str | None = Field(
        default=None,
        min_length=1,
        description="Rows to train on, as of `tapioca prune --task`; by default the search rows of the run, OOD and ID in turn.",
    )
    steps: int = Field(default=200, ge=1, description="Optimiser steps.")
    batch: int = Field(default=16, ge=1, description="Rows in a step.")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Peak learning rate of AdamW; by default 2e-4 of adapters, 3e-5 of all weights.",
    )
    rank: int = Field(default=16, ge=1, description="Rank of the adapters.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the batches and adapters.")
    orders: bool = Field(
        default=False,
        description="Also prune and tune the full model in every order, with equal steps, and judge each.",
    )
    seeds: int = Field(default=3, ge=1, description="Seeds that --orders is tried with.")
    model: str | None = Field(default=None, min_length=1, description="Where the run's model is now, if it was moved.")
    task: str | None = Field(default=None, min_length=1, description="Where its OOD data are now, if they were moved.")
    reference: str | None = Field(default=None, min_length=1, description="The same of its ID data.")

    @property
    def folder(self) -> Path:
        """Where results go."""
        run = self.run if self.run.name else self.run.resolve()  # "." has no name
        return self.out or run.with_name(f"{run.name}-healed")

    def command(self) -> str:
        """The command line that makes this request."""
        return write_command(self.model_copy(update={"run": str(self.run)}), "heal", ("run",))
