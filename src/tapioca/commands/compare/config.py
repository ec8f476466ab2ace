"""What a user asks of `tapioca compare`."""

from pydantic import Field

from tapioca.errors import UsageError
from tapioca.records.config import ChoosingConfig


class CompareConfig(ChoosingConfig):
    """The request behind `tapioca compare`."""

    verb = "compare"

    criteria: str = Field(
        default="all",
        min_length=1,
        description="Ways to choose a plan: all that drop something and may read OOD labels, or names with commas between, the first to compare with. Without labels: geometry, geometry-unit, mahalanobis, agreement, entropy, margin, faithful, proxy, linear.",
    )
    drops: str = Field(
        default="1:4",
        pattern=r"^[1-9][0-9]{0,3}(:[1-9][0-9]{0,3})?$",
        description="Numbers of layers (or branches) to drop, or to repeat: 3, or 1:8 for each from 1 to 8.",
    )
    shortlist: int | None = Field(
        default=None,
        ge=1,
        description="Beside tale, let it also choose with only so many drops scored a round: those that gradients rank first, then those that the round before ranks first.",
    )

    arms: bool = Field(
        default=False,
        description="Judge beside the first criterion's plans what else changes the model or its outputs: compensated drops, norms set without drops, repeated layers, scaled outputs, the mean with the full model.",
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of drops, ascending.

        Raises:
            UsageError: the range is empty.
        """
        first, _, last = self.drops.partition(":")
        drop_counts = tuple(range(int(first), int(last or first) + 1))
        if not drop_counts:
            raise UsageError(f"--drops {self.drops} is empty; write the smaller number first, for instance 1:8")
        return drop_counts
