"""What a user asks of `tapioca diagnose`."""

from pathlib import Path

from pydantic import Field

from tapioca.records.config import DataConfig


class DiagnoseConfig(DataConfig):
    """The request behind `tapioca diagnose`."""

    verb = "diagnose"

    reference: str = Field(min_length=1, description="ID data, of the same form: what the model is adapted to.")
    classifier: Path | None = Field(
        default=None, description="Classifier fitted on other data, a file like the packaged data/diagnosis.json."
    )
