"""What a user asks of `tapioca inspect`."""

from pydantic import Field

from tapioca.records import BaseConfig


class InspectConfig(BaseConfig):
    """The request behind `tapioca inspect`."""

    model: str = Field(min_length=1, description="Model: a folder, or a hub id.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub model.")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the model.")
