"""What a user asks of `tapioca compensate`."""

from pathlib import Path

from pydantic import Field

from tapioca.plan import Compensation
from tapioca.records.config import FolderConfig


class CompensateConfig(FolderConfig):
    """The request behind `tapioca compensate`."""

    run: Path = Field(description="Folder of a finished `tapioca prune`, for instance runs/first.")
    by: Compensation = Field(
        default="linear",
        description="A factor of the stream behind each gap (scale), or a linear map of what the MLP in front of it adds (linear).",
    )
    model: str | None = Field(default=None, min_length=1, description="Where the run's model is now, if it was moved.")
    task: str | None = Field(default=None, min_length=1, description="Where its OOD data are now, if they were moved.")
    reference: str | None = Field(default=None, min_length=1, description="The same of its ID data.")
