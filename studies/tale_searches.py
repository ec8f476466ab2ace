"""The searches that TALE's public logs print whole rounds of, and TALE's rules on any other accuracies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tapioca.records import Metric, Trial
from tapioca.search.base import SearchSpace
from tapioca.search.floor import FlooredSearch
from tapioca.search.stepwise import greedy

TRACES = Path(__file__).parents[2] / "shared" / "data" / "tale_traces" / "traces.csv"
ACCURACY = Metric(kind="accuracy", name="accuracy")
EPSILON = 0.08
"""TALE's own."""


@dataclass(frozen=True)
class Log:
    """The rounds of one search that were logged whole.

    Attributes:
        name: of the log.
        rows: how many rows every accuracy is of.
        accuracies: of every layer dropped in every round, after the drops of the rounds before; nan where it had been dropped,
            (round, layer).
        baseline: of the full model.
        finished: whether the search stopped by its own rule.
    """

    name: str
    rows: int
    baseline: float
    accuracies: np.ndarray
    finished: bool

    @property
    def error(self) -> float:
        """Standard error of one accuracy near the full model's, were the rows all that varied."""
        return float(np.sqrt(self.baseline * (1 - self.baseline) / self.rows))

    @property
    def best(self) -> tuple[int, int]:
        """Round and layer of TALE's BEST among the logged rounds: the highest accuracy, the earliest and lowest of equals."""
        place = np.nanargmax(self.accuracies)
        return divmod(int(place), self.accuracies.shape[1])

    @property
    def gain(self) -> float:
        """What BEST reports over the full model, which stays where nothing is better."""
        return max(0.0, float(self.accuracies[self.best]) - self.baseline)


def read_logs(traces: Path) -> list[Log]:
    """Every log with a whole first round that no other log goes on with."""
    logs = []
    for name, table in pd.read_csv(traces).groupby("file"):
        n_layers, baseline = int(table["n_layers"].iloc[0]), float(table["baseline"].iloc[0])
        by_round = table.pivot(index="round", columns="candidate", values="accuracy").reindex(columns=range(n_layers))
        is_whole = by_round.notna().sum(axis=1) == n_layers - by_round.index + 1
        accuracies = by_round[is_whole.cummin()].to_numpy()
        if len(accuracies):
            finished = bool(np.nanmax(accuracies[-1]) < baseline - EPSILON)
            short = str(name).removeprefix("TALE/").removesuffix(".out")
            logs.append(Log(short, int(table["n_examples"].iloc[0]), baseline, accuracies, finished))
    return [log for log in logs if not any(_is_beginning(log, other) for other in logs if other is not log)]


def _is_beginning(log: Log, other: Log) -> bool:
    """Whether another log repeats this one and goes on, or repeats it under a later name."""
    n_rounds = len(log.accuracies)
    same = (log.baseline, log.rows) == (other.baseline, other.rows) and np.array_equal(
        log.accuracies, other.accuracies[:n_rounds], equal_nan=True
    )
    return same and (n_rounds < len(other.accuracies) or log.name < other.name)


def search_again(log_accuracies: np.ndarray, baseline: float) -> float:
    """The gain that TALE reports where plans have these accuracies, (round, layer), in that many rounds."""
    n_rounds, n_layers = log_accuracies.shape
    search = FlooredSearch(greedy(), SearchSpace.of_layers(n_layers, max_drops=n_rounds), ACCURACY, EPSILON)
    while plans := search.ask():
        scores = [baseline]
        if search.path:
            dropped = search.path[-1].plan.drops
            layers = [next(layer for layer in plan.drops if layer not in dropped) for plan in plans]
            scores = log_accuracies[len(dropped), layers].tolist()
        trials = zip(plans, scores, strict=True)
        search.tell([Trial(plan=plan, score=score, log_likelihood=0.0) for plan, score in trials])
    return search.best.score - baseline
