"""What a user asks of `tapioca scale`."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from pydantic import Field, field_validator

from tapioca.errors import UsageError
from tapioca.records.config import RunConfig, write_plan

FEWEST, MOST = 3, 201
"""Scales in a sweep; a rank correlation of two points says nothing."""


class ScaleConfig(RunConfig):
    """The request behind `tapioca scale`."""

    verb = "scale"

    plan: str = Field(
        min_length=1, description="Plan file that `tapioca prune` wrote, or its JSON; what it drops is scaled instead."
    )
    scales: str = Field(
        default="0:2:0.1",
        min_length=1,
        description="Scales: FIRST:LAST:STEP, or values with commas between; 0 is the plan, and 1, the full model, must be among them.",
    )
    random_sets: int = Field(
        default=10, ge=0, description="Random sets of equally many layers, scaled in the same way as a control."
    )

    _write_plan = field_validator("plan", mode="before")(write_plan)

    @field_validator("scales", mode="before")
    @classmethod
    def _join_numbers(cls, scales: str | Sequence[float]) -> str:
        return scales if isinstance(scales, str) else ",".join(map(str, scales))

    @property
    def points(self) -> tuple[float, ...]:
        """The scales, ascending.

        Raises:
            UsageError: they cannot be read, are too few or too many, below 0, or leave out 1.
        """
        flag = f"--scales {self.scales}"
        try:
            scales = sorted(set(_parse_numbers(self.scales)))
        except (InvalidOperation, ValueError) as error:
            raise UsageError(f"{flag}: expected FIRST:LAST:STEP or values with commas, for instance 0:2:0.1") from error
        if not FEWEST <= len(scales) <= MOST:
            raise UsageError(f"{flag}: expected {FEWEST} to {MOST} different values, got {len(scales)}")
        if scales[0] < 0:
            raise UsageError(f"{flag}: a scale is a number >= 0, got {float(scales[0]):g}; begin at 0 or above")
        if 1 not in scales:
            raise UsageError(
                f"{flag}: 1, the full model, with which the others are compared, is not among them; add it"
            )
        return tuple(map(float, scales))


def _parse_numbers(text: str) -> list[Decimal]:
    """The numbers of a list or of a range with both ends; as decimals, so that 0, 0.1, 0.2, ... meet 1.

    Raises:
        ValueError: a number is not finite, or there are not three that make a range.
        InvalidOperation: something is no number.
    """
    numbers = [Decimal(part) for part in text.replace(":", ",").split(",")]
    if not all(number.is_finite() for number in numbers):
        raise ValueError("not finite")
    if ":" not in text:
        return numbers
    first, last, step = numbers
    if step <= 0 or "," in text:
        raise ValueError("no range")
    return [first + index * step for index in range(min(int((last - first) / step) + 1, MOST + 1))]
