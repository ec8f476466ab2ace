"""What was timed: seconds of every round, and time ratios with their intervals; it goes to JSON and back."""

from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tapioca.plan import Plan
from tapioca.records.measures import Estimate
from tapioca.records.results import FileRecord, Record

SideName = Literal["full", "plan", "checkpoint", "other"]
Measure = Literal["first_token", "decode", "whole", "forward"]
Protocol = Literal["tale"]
Seconds = Annotated[float, Field(gt=0, le=1e9)]

MEASURES: dict[str, tuple[Measure, ...]] = {
    "writing": ("first_token", "decode", "whole"),
    "tale": ("first_token",),
    "reading": ("forward",),
}
"""What is timed of a call."""


class MachineRecord(Record):
    """What a time depends on beside the model.

    Attributes:
        name: of the processor or the accelerator that computes.
        device: kind of device.
        cores: of the machine's processors.
        threads: that torch used on them.
        torch, transformers: versions.
    """

    name: str
    device: str
    cores: int
    threads: int
    torch: str
    transformers: str


class BenchSide(Record, protected_namespaces=()):
    """One of what is timed in turn.

    Attributes:
        name: the model as it is, the live model under the plan, a checkpoint of the plan, or another model.
        label: what it is called on screens and pages.
        plan: that it runs under; None where it runs as it is.
        n_layers: that it runs.
        parameters: that it has, those of dropped layers left out; shared ones count once.
        weight_bytes: held by its weights, those of dropped layers of a live model included.
        disk_bytes: of its files of weights; None of a live model that came from nowhere.
        dtype: torch's name of that of its weights.
        attention: transformers' name of the way attention is computed.
        by_layers: time ratio to the first side if all time were spent in layers, each alike; None where their layers differ.
    """

    name: SideName
    label: str
    plan: Plan | None = None
    n_layers: int
    parameters: int
    weight_bytes: int
    disk_bytes: int | None
    dtype: str
    attention: str
    by_layers: float | None = None


class MeasureTiming(Record):
    """How long one thing took every side at one size.

    Attributes:
        measure: until the first token is there (first_token), from there to the last one (decode), all of a call that writes
            (whole), or one forward of a model that does not write (forward).
        seconds: of one call by side and round; the sides of a round ran one after the other.
        ratios: median over rounds of the time relative to the first side's in the same round, by side.
        against_live: the same of the checkpoint relative to the live plan; None where there are not both.
    """

    measure: Measure
    seconds: dict[SideName, Annotated[tuple[Seconds, ...], Field(min_length=1)]]
    ratios: dict[SideName, Estimate]
    against_live: Estimate | None = None

    def find_median(self, side: SideName) -> float:
        """The median of the seconds of a side."""
        return median(self.seconds[side])

    def find_mean(self, side: SideName) -> float:
        """The mean of the seconds of a side."""
        return fmean(self.seconds[side])

    @property
    def half_width(self) -> float:
        """Of the widest interval."""
        estimates = [*self.ratios.values(), *([self.against_live] if self.against_live else [])]
        return max((estimate.ci95[1] - estimate.ci95[0]) / 2 for estimate in estimates)


class SizeTiming(FileRecord):
    """What was timed at one size.

    Attributes:
        protocol: the published one that is followed; None of the usual one.
        batch: prompts at once.
        length: tokens of each.
        new_tokens: written behind each; 0 of a model that does not write.
        calls: in a row that make one run, whose time is their mean.
        rounds: in each of which every side ran once.
        others: share of the processors' time that other processes took meanwhile; None where the system does not say.
        held_bytes: most that was held at once beside weights, by side.
        measures: what was timed.
    """

    protocol: Protocol | None
    batch: int = Field(ge=1)
    length: int = Field(ge=1)
    new_tokens: int = Field(ge=0)
    calls: int = Field(ge=1)
    rounds: int = Field(ge=1)
    others: float | None
    held_bytes: dict[SideName, int]
    measures: tuple[MeasureTiming, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names, expected = [*self.held_bytes], MEASURES[self.protocol or ("writing" if self.new_tokens else "reading")]
        has_all = all([*timing.seconds] == names and [*timing.ratios] == names[1:] for timing in self.measures)
        if not has_all or tuple(timing.measure for timing in self.measures) != expected:
            raise ValueError(f"expected {', '.join(expected)} of every model")
        return self

    @property
    def file(self) -> str:
        """Where it is kept in the run folder."""
        return name_timing(self.protocol, self.batch, self.length)

    @property
    def half_width(self) -> float:
        """Of the widest interval of a time ratio."""
        return max(timing.half_width for timing in self.measures)

    def find(self, measure: Measure) -> MeasureTiming:
        """One of what was timed."""
        return next(timing for timing in self.measures if timing.measure == measure)


class BenchResult(FileRecord, protected_namespaces=()):
    """One finished timing: what `tapioca bench` returns and `bench.json` holds."""

    folder: Path = Field(default=Path(), exclude=True)
    command: str = Field(description="The command line that makes it again, in a folder that holds what it names.")
    model: str = Field(description="The first model, as it was asked for.")
    model_hash: str = Field(description="Names the first model by configuration, weights and dtype.")
    machine: MachineRecord
    writes: bool = Field(
        description="Whether the models write; else forward passes were timed, and the rest does not exist."
    )
    precision: float = Field(description="Half-width of intervals at which a size was timed enough.")
    max_rounds: int = Field(description="Rounds after which a size was timed no more.")
    sides: tuple[BenchSide, ...] = Field(min_length=2, description="What was timed in turn; ratios are to the first.")
    sizes: tuple[SizeTiming, ...] = Field(min_length=1, description="What was timed, size by size.")
    difference: float | None = Field(
        default=None,
        description="Largest absolute difference of an output of the checkpoint, exported for the time, from the live plan's; null where none was exported.",
    )
    live_costs: str = Field(
        default="", description="What the live plan does at every forward and the checkpoint does not."
    )
    notes: tuple[str, ...] = Field(description="What was noticed, a sentence each.")

    @model_validator(mode="after")
    def _has_all_sides(self) -> Self:
        names = [side.name for side in self.sides]
        if any([*size.held_bytes] != names for size in self.sizes):
            raise ValueError("expected times of the same models at every size")
        if any(self.writes != bool(size.new_tokens) for size in self.sizes):
            raise ValueError("expected sizes of models that write, or of models that do not")
        return self

    def find_side(self, name: SideName) -> BenchSide:
        """One of what was timed."""
        return next(side for side in self.sides if side.name == name)

    def find_peak(self, side: BenchSide) -> int:
        """The most bytes a side held at once at any size: its weights, and what stood beside them."""
        return side.weight_bytes + max(size.held_bytes[side.name] for size in self.sizes)


def name_timing(protocol: Protocol | None, batch: int, length: int) -> str:
    """The file of a size in the run folder."""
    return f"timings/{f'{protocol}-' if protocol else ''}{batch}x{length}.json"
