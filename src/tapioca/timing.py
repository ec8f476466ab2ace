"""Seconds of several ways to do the same, run in turn in one process, so that a busy machine slows all of them alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Generic, TypeVar

import torch

R = TypeVar("R")


@dataclass(frozen=True)
class Timed(Generic[R]):
    """What a call returned, and the seconds it took."""

    result: R
    seconds: float


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long one way took as another: the median over pairs of neighbouring runs, the least and the most."""

    median: float
    lowest: float
    highest: float

    def __rmul__(self, factor: float) -> "TimeRatio":
        return TimeRatio(factor * self.median, factor * self.lowest, factor * self.highest)

    def __str__(self) -> str:
        return f"{self.median:.1f} [{self.lowest:.1f}, {self.highest:.1f}]"


def read_clock() -> float:
    """The time in seconds, once a GPU has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


def time_call(call: Callable[[], R]) -> Timed[R]:
    """Run something once, to the end of what it launched."""
    start = read_clock()
    result = call()
    return Timed(result, read_clock() - start)


def time_in_turn(calls: Sequence[Callable[[], Any]], repeats: int) -> list[list[Timed[Any]]]:
    """Run every call once, then all of them again, as often as `repeats` says.

    Returns:
        The runs of each call, in the order in which they were made.
    """
    rounds = [[time_call(call) for call in calls] for _ in range(repeats)]
    return [list(runs) for runs in zip(*rounds, strict=True)]


def compare_times(slow: Sequence[Timed[Any]], fast: Sequence[Timed[Any]]) -> TimeRatio:
    """How many times as long the first took, from runs that were made in turn."""
    ratios = [slow_run.seconds / fast_run.seconds for slow_run, fast_run in zip(slow, fast, strict=True)]
    return TimeRatio(median(ratios), min(ratios), max(ratios))


def find_median_seconds(runs: Sequence[Timed[Any]]) -> float:
    """The median of the seconds of some runs."""
    return median(run.seconds for run in runs)
