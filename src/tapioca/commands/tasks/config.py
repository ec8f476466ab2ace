"""The request behind `tapioca tasks`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tapioca.records.config import DataConfig


class TasksConfig(DataConfig):
    """Which task is shown or written down, and how its data are read."""

    verb: ClassVar[str] = "tasks"
    without: ClassVar[frozenset[str]] = frozenset(
        {
            "reference",
            "test",
            "out",
            "take_over",
            "search_share",
            "limit",
            "batch_size",
            "seed",
            "device",
            "dtype",
            "adapter",
        }
    )  # what does not change what is asked

    model: str = Field(default="", description="Model whose tokenizer is used: a folder, or a hub id.")
    task: str = Field(default="", description="Task to show: a name, a file, hub:ID or harness:TASK.")
    count: int = Field(default=2, ge=1, description="Examples to show.")
    write: Path | None = Field(
        default=None,
        description="New .yaml file for the description of a data file, with what was guessed, to be edited.",
    )
