"""What a user asks of `tapioca bench`."""

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from tapioca.errors import UsageError
from tapioca.records.config import FolderConfig, write_command, write_plan

LEAST_ROUNDS = 10
"""Rounds before anything is said of a size."""


class Size(NamedTuple):
    """So many prompts at once, each of so many tokens."""

    batch: int
    length: int


DEFAULT_GRID = "1,8x32,256"


class BenchConfig(FolderConfig):
    """The request behind `tapioca bench`."""

    verb: ClassVar[str] = "bench"

    model: str = Field(min_length=1, description="Model: a folder, or a hub id.")
    other: str | None = Field(
        default=None,
        min_length=1,
        description="Another model, timed beside it; with --plan a checkpoint of that plan, where you have exported one already.",
    )
    plan: str | None = Field(
        default=None,
        min_length=1,
        description="Plan file, for instance runs/first/plan.json, or its JSON: time the model under it, and a checkpoint of it.",
    )
    out: Path | None = Field(default=None, description="Run folder; by default runs/MODEL-bench-HASH.")
    grid: str | None = Field(
        default=None,
        pattern=r"^[1-9]\d{0,6}(,[1-9]\d{0,6})*x[1-9]\d{0,6}(,[1-9]\d{0,6})*$",
        description=f"Numbers of prompts at once x tokens of each: {DEFAULT_GRID} times 1 and 8 prompts of 32 and of 256 tokens; by default that, as far as the model reads so much.",
    )
    new_tokens: int = Field(default=32, ge=2, le=1_000_000, description="Tokens written behind each prompt.")
    protocol: Literal["tale"] | None = Field(
        default=None,
        description="Time the published protocol beside: TALE's, one prompt at a time, one token written, no KV cache.",
    )
    precision: float = Field(
        default=0.03,
        gt=0,
        lt=1,
        description="Half-width of the intervals of time ratios at which a size is timed enough.",
    )
    max_rounds: int = Field(
        default=200,
        ge=LEAST_ROUNDS,
        le=100_000,
        description="Most rounds of a size, in each of which every model runs once.",
    )
    device: str | None = Field(
        default=None,
        description="cpu, cuda:N, mps, or auto (over all GPUs, then memory, then disk); by default cuda where it is there, else cpu.",
    )
    dtype: str = Field(default="auto", description="Torch dtype; auto keeps the checkpoint's.")
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub model.")
    trust_remote_code: bool = Field(default=False, description="Run code that comes with the model.")
    adapter: Path | None = Field(
        default=None, description="Folder with a LoRA adapter (peft), merged into the model's weights first."
    )
    dry_run: bool = Field(
        default=False, description="Run everything once and say how long the timing would take; keep nothing."
    )

    _write_plan = field_validator("plan", mode="before")(write_plan)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """All sizes of the grid."""
        batches, lengths = (part.split(",") for part in (self.grid or DEFAULT_GRID).split("x"))
        return tuple(dict.fromkeys(Size(int(batch), int(length)) for batch in batches for length in lengths))

    def refuse_single(self) -> None:
        """Refuse a request that compares nothing.

        Raises:
            UsageError: there is neither a plan nor another model.
        """
        if not (self.plan or self.other):
            raise UsageError(
                f"{self.model} alone is compared with nothing; give --plan, or a second model behind the first"
            )

    def command(self) -> str:
        """The command line that makes this request; what is named by a path out of the working folder, by its last part."""
        return write_command(self, self.verb, ("model", "other"))
