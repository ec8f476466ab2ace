"""What a user asks of `tapioca enumerate`."""

from pydantic import Field

from tapioca.records.config import RunConfig


class EnumerateConfig(RunConfig):
    """The request behind `tapioca enumerate`."""

    verb = "enumerate"

    max_drops: int | None = Field(
        default=None,
        ge=1,
        description="Evaluate the plans that drop up to so many layers; all there can be if not told.",
    )
