"""How often the intervals of `tapioca bench` hold the truth, where two sides are one: simulated times, no model.

    python benchmarks/bench_intervals.py --draws 500

A time is log-normal around 1, and one in ten is twice as long. Rounds go on until the interval is ± 3 %, at most 200: an interval
that is looked at until it is narrow is now and then narrow by chance, so that `tapioca bench` widens it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
from rich.console import Console
from rich.progress import track

from tapioca.commands.bench import measure
from tapioca.commands.bench.calls import Call
from tapioca.report.tables import TableBlock, print_block

SPREADS = (0.01, 0.03, 0.05)
DISTURBED, PRECISION, MAX_ROUNDS = 0.1, 0.03, 200
WIDER = {"as it is": 1.0, "widened": measure.LOOKED_AT}


def draw_times(rng: np.random.Generator, spread: float) -> Call:
    """A side whose times spread so much."""
    return lambda: {"forward": float(rng.lognormal(0, spread) * (1 + (rng.random() < DISTURBED)))}


def simulate(spread: float, draws: int) -> tuple[str, ...]:
    """Rounds on average, and per cent of intervals that hold 1."""
    held, rounds = [], []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        runs = {"full": draw_times(rng, spread), "other": draw_times(rng, spread)}
        [timing] = measure.time_rounds(runs, PRECISION, MAX_ROUNDS)  # type: ignore[arg-type]
        low, high = timing.ratios["other"].ci95
        held.append(low <= 1 <= high)
        rounds.append(len(timing.seconds["full"]))
    return f"{np.mean(rounds):.0f}", f"{100 * np.mean(held):.1f}"


def simulate_all(draws: int) -> Iterator[tuple[str, ...]]:
    """A row for each spread, with and without what `tapioca bench` widens intervals by."""
    for name, factor in WIDER.items():
        measure.LOOKED_AT = factor
        for spread in SPREADS:
            yield name, f"{spread:.0%}", *simulate(spread, draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    measure._without_garbage = nullcontext  # nothing here takes long enough to be disturbed
    rows = tuple(track(simulate_all(draws), "simulating", len(WIDER) * len(SPREADS), console=Console(stderr=True)))
    print_block(Console(), TableBlock("", ("interval", "times spread", "rounds", "hold 1, %"), rows))


if __name__ == "__main__":
    main()
