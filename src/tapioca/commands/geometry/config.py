"""What a user asks of `tapioca geometry`."""

from pydantic import Field, field_validator

from tapioca.records.config import DataConfig, write_plan


class GeometryConfig(DataConfig):
    """The request behind `tapioca geometry`."""

    verb = "geometry"

    reference: str = Field(min_length=1, description="ID data, of the same form: what the model is adapted to.")
    plan: str | None = Field(
        default=None, min_length=1, description="Plan file, or its JSON: measure the geometry under this plan as well."
    )
    branches: bool = Field(
        default=False, description="Observe what every attention and MLP branch adds, not only whole layers."
    )

    _write_plan = field_validator("plan", mode="before")(write_plan)
