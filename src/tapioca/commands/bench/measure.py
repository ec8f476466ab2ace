"""Times of several sides, run in turn in one process until the intervals of their ratios are narrow."""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil

import numpy as np

from tapioca.commands.bench.calls import Call, Times
from tapioca.commands.bench.config import LEAST_ROUNDS
from tapioca.commands.bench.result import Measure, MeasureTiming, SideName
from tapioca.records.measures import Estimate
from tapioca.stats import median_interval

RUN_SECONDS = 0.05
"""Of the shortest run: calls are repeated until it takes as long, since on a busy machine a process is let run for some
milliseconds and then waits for some, so that single calls as short take their time or a multiple of it."""

LOOK_GROWTH = 1.5
"""How many times as many rounds there are from one look at the intervals to the next; looks at every round would now and then
find an interval that is narrow by chance."""


LOOKED_AT = 1.2
"""How much wider intervals are for being looked at until they are narrow: else up to 8 of 100 miss what is between two equal
models, and with it at most 5 (benchmarks/bench_intervals.py)."""


def choose_calls(quickest: float) -> int:
    """How many calls in a row make one run, where the quickest side takes so many seconds for one."""
    return max(1, ceil(RUN_SECONDS / quickest)) if quickest > 0 else 1


def list_looks(max_rounds: int) -> list[int]:
    """After how many rounds the intervals are looked at."""
    looks = [min(LEAST_ROUNDS, max_rounds)]
    while looks[-1] < max_rounds:
        looks.append(min(max_rounds, ceil(looks[-1] * LOOK_GROWTH)))
    return looks


def time_rounds(
    runs: Mapping[SideName, Call], precision: float, max_rounds: int, on_round: Callable[[], None] = lambda: None
) -> tuple[MeasureTiming, ...]:
    """Run every side once a round, until the intervals of all ratios are narrow enough or the rounds are used up.

    Every other round runs the sides in reversed order, so that what a run leaves to the next weighs on all alike.

    Args:
        runs: does a run of a side and returns its seconds; the first side is the one that others are compared with.
        precision: half-width of intervals that is narrow enough.
        max_rounds: after which there is no more.
        on_round: called after every round.
    """
    seconds: dict[SideName, list[Times]] = {name: [] for name in runs}
    n_done = 0
    timings: tuple[MeasureTiming, ...] = ()
    with _without_garbage():
        for look in list_looks(max_rounds):
            while n_done < look:
                for name in list(runs)[:: -1 if n_done % 2 else 1]:
                    seconds[name].append(runs[name]())
                n_done += 1
                on_round()
            timings = compare_sides(seconds)
            if all(timing.half_width <= precision for timing in timings):
                break
    return timings


@contextmanager
def _without_garbage() -> Iterator[None]:
    """Let Python's garbage collector look at new objects alone: a look at all of them takes longer than many a run."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def compare_sides(seconds: Mapping[SideName, Sequence[Times]]) -> tuple[MeasureTiming, ...]:
    """The times of every measure with the ratios to the first side."""
    first = next(iter(seconds))
    measures: list[Measure] = list(seconds[first][0])
    return tuple(
        compare_measure(measure, {name: [times[measure] for times in runs] for name, runs in seconds.items()})
        for measure in measures
    )


def compare_measure(measure: Measure, seconds: Mapping[SideName, Sequence[float]]) -> MeasureTiming:
    """The same of one measure."""
    first, *others = seconds
    has_both = "plan" in seconds and "checkpoint" in seconds
    return MeasureTiming(
        measure=measure,
        seconds={name: tuple(times) for name, times in seconds.items()},
        ratios={name: estimate_ratio(seconds[name], seconds[first]) for name in others},
        against_live=estimate_ratio(seconds["checkpoint"], seconds["plan"]) if has_both else None,
    )


def estimate_ratio(times: Sequence[float], beside: Sequence[float]) -> Estimate:
    """The median over rounds of the ratio of times of one round, with its bootstrap interval."""
    value, (low, high) = median_interval(np.array(times) / np.array(beside))
    return Estimate(value=value, ci95=(value - LOOKED_AT * (value - low), value + LOOKED_AT * (high - value)))
