"""What a user asks of `tapioca export`."""

from pathlib import Path

from pydantic import Field

from tapioca.records.config import FolderConfig


class ExportConfig(FolderConfig):
    """The request behind `tapioca export`."""

    run: Path = Field(description="Run folder of `tapioca prune`; with --plan also a model, as a folder or hub id.")
    to: Path = Field(description="Folder for the checkpoint; must be new or empty.")
    plan: str | None = Field(
        default=None, min_length=1, description="A plan file, or its JSON, to use instead of the run's plan.json."
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub model; the run's if not told."
    )
    adapter: Path | None = Field(
        default=None, description="Folder with a LoRA adapter (peft), merged first; the run's if not told."
    )
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model, as a run that was given this flag did."
    )
