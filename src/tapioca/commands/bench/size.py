"""One size, timed: which prompts, which protocol, how many calls a run, and what every side takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from tapioca.commands.bench.calls import (
    Call,
    Times,
    check_size,
    is_writer,
    make_prompts,
    make_reading_call,
    make_writing_call,
)
from tapioca.commands.bench.config import BenchConfig, Size
from tapioca.commands.bench.measure import choose_calls, time_rounds
from tapioca.commands.bench.memory import measure_held_bytes
from tapioca.commands.bench.result import Protocol, SideName, SizeTiming, name_timing
from tapioca.commands.bench.sides import Side
from tapioca.errors import UsageError
from tapioca.machine import watch_others
from tapioca.models.edit import apply
from tapioca.models.inputs import find_max_length
from tapioca.progress import Progress

WARM_UPS = 3
"""Calls of every side before any is timed; TALE's number."""


@dataclass(frozen=True)
class Job:
    """What is to be timed.

    Attributes:
        size: of the prompts.
        new_tokens: to be written behind each; 0 where a forward is timed.
        protocol: the published one that is followed.
    """

    size: Size
    new_tokens: int
    protocol: Protocol | None = None

    @property
    def file(self) -> str:
        """Where its timing is kept in the run folder."""
        return name_timing(self.protocol, *self.size)

    def __str__(self) -> str:
        return f"{self.size.batch} × {self.size.length} tokens{', TALE' if self.protocol else ''}"


def list_jobs(config: BenchConfig, sides: Sequence[Side]) -> list[Job]:
    """Everything a request asks for, with the shortest first.

    Raises:
        ModelError: a model cannot read a size.
        UsageError: a protocol is about writing, and a model does not write.
    """
    writes = all(is_writer(side.model) for side in sides)
    new_tokens = config.new_tokens if writes else 0
    if config.protocol and not writes:
        raise UsageError(
            f"--protocol {config.protocol} times written tokens, and {config.model} does not write; leave it out"
        )
    sizes = config.sizes if config.grid else _fit_sizes(config.sizes, sides, new_tokens)
    jobs = [Job(size, new_tokens) for size in sizes]
    if config.protocol:
        jobs += [Job(Size(1, length), 1, config.protocol) for length in dict.fromkeys(size.length for size in sizes)]
    for side in sides:
        for job in jobs:
            check_size(side.model, job.size, job.new_tokens)
    return jobs


def _fit_sizes(sizes: Sequence[Size], sides: Sequence[Side], new_tokens: int) -> list[Size]:
    """Sizes that all sides read; longer prompts are as long as they may be."""
    most = max(1, min(find_max_length(side.model) for side in sides) - new_tokens)
    return list(dict.fromkeys(Size(size.batch, min(size.length, most)) for size in sizes))


def prepare_calls(job: Job, sides: Sequence[Side]) -> tuple[dict[SideName, Call], dict[SideName, int]]:
    """What each side does once under its plan, and the bytes it holds at most meanwhile beside its weights."""
    calls: dict[SideName, Call] = {}
    held_bytes: dict[SideName, int] = {}
    for side in sides:
        prompts = make_prompts(side.model, job.size)
        call = make_reading_call(side.model, prompts)
        if job.new_tokens:
            call = make_writing_call(side.model, prompts, job.new_tokens, use_cache=job.protocol is None)
        calls[side.name] = call
        with apply(side.model, side.plan):
            held_bytes[side.name] = measure_held_bytes(side.model, prompts.values(), call)
    return calls, held_bytes


def warm_up(calls: Mapping[SideName, Call], sides: Sequence[Side]) -> float:
    """Let every side do it a few times; returns the least seconds of one call."""
    seconds = []
    for side in sides:
        with apply(side.model, side.plan):
            seconds += [max(calls[side.name]().values()) for _ in range(WARM_UPS)]
    return min(seconds)


def run_side(side: Side, call: Call, n_calls: int) -> Times:
    """Mean seconds of so many calls in a row under a side's plan, which is put on before the clock runs."""
    with apply(side.model, side.plan):
        all_times = [call() for _ in range(n_calls)]
    return {measure: fmean(times[measure] for times in all_times) for measure in all_times[0]}


def time_size(job: Job, sides: Sequence[Side], config: BenchConfig, progress: Progress) -> SizeTiming:
    """Time every side at one size, in turn."""
    progress.stage(f"timing {job}", config.max_rounds)
    calls, held_bytes = prepare_calls(job, sides)
    n_calls = choose_calls(warm_up(calls, sides))
    runs = {side.name: partial(run_side, side, calls[side.name], n_calls) for side in sides}
    with watch_others() as others:
        measures = time_rounds(runs, config.precision, config.max_rounds, lambda: progress.advance(1))
    return SizeTiming(
        protocol=job.protocol,
        batch=job.size.batch,
        length=job.size.length,
        new_tokens=job.new_tokens,
        calls=n_calls,
        rounds=len(measures[0].seconds[sides[0].name]),
        others=others.share,
        held_bytes=held_bytes,
        measures=measures,
    )
