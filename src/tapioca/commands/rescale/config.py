"""What a user asks of `tapioca rescale`."""

from typing import Literal

from pydantic import Field

from tapioca.records.config import RunConfig


class RescaleConfig(RunConfig):
    """The request behind `tapioca rescale`."""

    verb = "rescale"

    reference: str = Field(min_length=1, description="ID data, whose norms the residual stream is given; as --task.")
    tokens: Literal["last", "all", "both"] = Field(
        default="both",
        description="Where the norm is set: at each row's last token, at all tokens but its first, or one after the other.",
    )
