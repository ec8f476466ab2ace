"""How often intervals miss, simulated: of a plan that changes nothing but chance, and of one that halves every error.

    python benchmarks/intervals.py --draws 2000

Every row is a number of groups, of one example each. Errors are drawn in pairs (full model, plan) that could change places;
for coverage the plan's are halved. Accuracies are right answers of which a share flips, either way alike. Numbers are
per cent of draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy import stats as scipy_stats

from tapioca.records import Metric
from tapioca.report.tables import TableBlock, print_block
from tapioca.stats import Pairing, ratio_interval

ERROR, ACCURACY = Metric(name="error", kind="error"), Metric(name="accuracy", kind="accuracy")
Pair = tuple[np.ndarray, np.ndarray]


def draw_squared_normal(rng: np.random.Generator, size: int) -> Pair:
    """Squared residuals of two fits of questions that are not equally hard."""
    scale = np.exp(0.5 * rng.standard_normal(size))
    return scale * rng.chisquare(1, size), scale * rng.chisquare(1, size)


def draw_losses(rng: np.random.Generator, size: int) -> Pair:
    """Negative log-likelihoods that are mostly the question's."""
    hard = rng.gamma(4, 1, size)
    return hard + rng.gamma(1, 0.3, size), hard + rng.gamma(1, 0.3, size)


def draw_heavy_tailed(rng: np.random.Generator, size: int) -> Pair:
    """Squared errors with the tails of Student's t with 2 degrees of freedom."""
    scale = scipy_stats.t.rvs(2, size=size, random_state=rng) ** 2
    return scale * np.exp(0.5 * rng.standard_normal(size)), scale * np.exp(0.5 * rng.standard_normal(size))


ERRORS: dict[str, Callable[[np.random.Generator, int], Pair]] = {
    "squared normal": draw_squared_normal,
    "log-likelihood": draw_losses,
    "t(2) squared": draw_heavy_tailed,
}
FLIPPED = {"5 % flip": 0.05, "30 % flip": 0.3}
SIZES = (8, 12, 20, 50, 200)


def measure_errors(draw: Callable[[np.random.Generator, int], Pair], size: int, draws: int) -> tuple[str, ...]:
    """Better and worse of 100 where nothing but chance changed, by subsets and by bootstrap; coverage of a halving."""
    rng, pairing = np.random.default_rng(size), Pairing(np.ones(size), np.arange(size), ERROR)
    outcomes = np.zeros((draws, 5), bool)
    for row in outcomes:
        full, planned = draw(rng, size)
        low, high = pairing.compare(-full, -planned).ci95
        old_low, old_high = ratio_interval(full - planned, full)
        halved = pairing.compare(-full, -planned / 2).ci95
        row[:] = low > 0, high < 0, old_low > 0, old_high < 0, halved[0] <= 0.5 <= halved[1]
    better, worse, old_better, old_worse, covered = 100 * outcomes.mean(axis=0)
    return f"{better:.1f} / {worse:.1f}", f"{old_better:.1f} / {old_worse:.1f}", f"{covered:.1f}"


def measure_accuracies(share: float, size: int, draws: int) -> tuple[str, ...]:
    """Better and worse of 100 where a share of answers flips."""
    rng, pairing = np.random.default_rng(size), Pairing(np.ones(size), np.arange(size), ACCURACY)
    outcomes = np.zeros((draws, 2), bool)
    for row in outcomes:
        full = rng.integers(0, 2, size).astype(float)
        planned = np.where(rng.random(size) < share, 1 - full, full)
        low, high = pairing.compare(full, planned).ci95
        row[:] = low > 0, high < 0
    better, worse = 100 * outcomes.mean(axis=0)
    return f"{better:.1f} / {worse:.1f}", "", ""


def measure_all(draws: int) -> Iterator[tuple[str, ...]]:
    """A row for each kind of score and number of groups."""
    for name, draw in ERRORS.items():
        for size in SIZES:
            yield name, str(size), *measure_errors(draw, size, draws)
    for name, share in FLIPPED.items():
        for size in SIZES:
            yield f"accuracy, {name}", str(size), *measure_accuracies(share, size, draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    total = (len(ERRORS) + len(FLIPPED)) * len(SIZES)
    rows = tuple(track(measure_all(draws), "simulating", total, console=Console(stderr=True)))
    head = ("scores", "groups", "better / worse", "by bootstrap", "halving covered")
    print_block(Console(), TableBlock("", head, rows))


if __name__ == "__main__":
    main()
