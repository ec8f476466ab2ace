"""What a race costs, and whether it picks as the exact search does: many seeded searches on one trained model.

All plans of up to a few drops are scored once on all examples. Searches are then replayed from these scores: each
draws a number of examples and an order by its seed, follows the exact search from round to round, and races every
round. Costs are layers computed by the sweep of the plans still running, as a share of the sweep of all of them;
nothing is timed, so the load of the machine does not matter.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import torch

from tapioca.flows.check import probes
from tapioca.flows.prepare import prepare
from tapioca.flows.watcher import Silent
from tapioca.records import Metric, Plan, PruneConfig
from tapioca.records.tree import layers_computed
from tapioca.search.race import DELTA, Race, cut
from tapioca.tasks.batches import looks

HEADS = ("examples", "race costs", "exact stop costs", "same pick", "within 1/2 standard error", "winner protected")


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of all plans on all examples (times the examples' weights), and what a bound is chosen from."""

    values: dict[Plan, np.ndarray]
    known: list[Plan]
    metric: Metric

    @property
    def full(self) -> Plan:
        return self.known[0]

    def bound(self, drawn: np.ndarray) -> float:
        """What differences are cut to on some examples; 1, hence nothing, for accuracies."""
        return 1.0 if self.metric.kind == "accuracy" else cut(np.stack([self.values[one][drawn] for one in self.known]))


def score_all(config: PruneConfig, drops: int) -> Scored:
    """The scores of all plans of up to `drops` drops on every example."""
    job = prepare(config, Silent())
    with job.store:
        task = job.search["ood"]
        plans = [
            Plan.drop(job.n_layers, some)
            for size in range(drops + 1)
            for some in combinations(job.space.droppable, size)
        ]
        scores = job.evaluate(task, plans, "all plans").values * task.weights / task.weights.mean()
    return Scored(dict(zip(plans, scores, strict=True)), [plans[0], *probes(job.space)], task.metric)


def race_round(table: np.ndarray, plans: list[Plan], size: int, race: Race) -> tuple[int, float]:
    """The plan picked, and the share of the layers of a whole sweep that were computed. `table` is in the order drawn."""
    examples, spent = table.shape[1], 0.0
    for start, end in pairwise((0, *looks(examples, size))):
        spent += layers_computed(tuple(plans[at] for at in race.running)) * (end - start)
        race.look(table[race.running, start:end])
    picked = race.running[table[race.running].mean(1).argmax()]
    return int(picked), spent / (layers_computed(tuple(plans)) * examples)


def replay(scored: Scored, examples: int, drops: int, size: int, seed: int) -> list[tuple[float, ...]]:
    """One search: for each round the columns of the table, and what differences were cut to."""
    drawn = np.random.default_rng(seed).permutation(len(scored.values[scored.full]))[:examples]
    current, bound, found = scored.full, scored.bound(drawn), []
    for _ in range(drops):
        further = [Plan.drop(current.n_layers, [*current.drops, layer]) for layer in current.kept]
        plans = [plan for plan in further if plan in scored.values]
        table = np.stack([scored.values[plan][drawn] for plan in plans])
        winner = int(table.mean(1).argmax())
        picked, raced = race_round(table, plans, size, Race(len(plans), examples, bound, DELTA))
        exact = 1.0
        if scored.metric.kind == "accuracy":
            _, exact = race_round(table, plans, size, Race(len(plans), examples))
        behind = table[winner] - table[picked]
        error = behind.std(ddof=1) / examples**0.5
        protected = np.clip(table[winner] - table, -bound, bound).mean(1).min() >= 0
        within = behind.mean() <= 0.5 * error
        found.append((raced, exact, float(picked == winner), float(within), float(protected), bound))
        current = plans[winner]
    return found


def report(scored: Scored, asked: argparse.Namespace) -> None:
    """Print what was scored, and the table."""
    whole, show = len(scored.values[scored.full]), scored.metric.format
    singles = sorted((values.mean() for plan, values in scored.values.items() if plan.size == 1), reverse=True)
    print(f"{asked.model} on {asked.task}: {whole} examples, {asked.searches} searches of {asked.drops} rounds,")
    print(f"batches of {asked.batch_size}; {scored.metric.name} of the full model "
          f"{show(scored.values[scored.full].mean())}, of single drops {', '.join(map(show, singles))}")  # fmt: skip
    print("  ".join(HEADS))
    for examples in dict.fromkeys(min(count, whole) for count in asked.examples):
        searches = (replay(scored, examples, asked.drops, asked.batch_size, seed) for seed in range(asked.searches))
        raced, exact, same, within, protected, bound = np.array([row for rows in searches for row in rows]).mean(0)
        stopped = f"{exact:.0%}" if scored.metric.kind == "accuracy" else "–"
        cells = [f"{examples}", f"{raced:.0%}", stopped, f"{same:.1%}", f"{within:.1%}", f"{protected:.1%}"]
        line = "  ".join(cell.rjust(len(head)) for cell, head in zip(cells, HEADS, strict=True))
        print(line + (f"  cut to {bound:.3g}" if scored.metric.kind == "error" else ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("--drops", type=int, default=3)
    parser.add_argument("--examples", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--score", default="accuracy")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        config = PruneConfig(
            model=asked.model,
            task=asked.task,
            out=Path(folder) / "run",
            search_share=0.99,
            batch_size=asked.batch_size,
            score=asked.score,
        )
        scored = score_all(config, asked.drops)
    report(scored, asked)


if __name__ == "__main__":
    main()
