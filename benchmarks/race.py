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

from tapioca.commands.prune.config import PruneConfig
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.progress import NullProgress
from tapioca.records import Metric
from tapioca.search.race import DELTA, Race, choose_bound
from tapioca.session.context import open_run
from tapioca.session.preflight import reference_drops
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

    def bound(self, example_indices: np.ndarray) -> float:
        """What differences are cut to on some examples; 1, hence nothing, for accuracies."""
        return (
            1.0
            if self.metric.kind == "accuracy"
            else choose_bound(np.stack([self.values[plan][example_indices] for plan in self.known]))
        )


def score_all(config: PruneConfig, drops: int) -> Scored:
    """The scores of all plans of up to `drops` drops on every example."""
    with open_run(config, NullProgress()) as job:
        task = job.search["ood"]
        plans = [
            Plan.drop(job.n_layers, layers)
            for size in range(drops + 1)
            for layers in combinations(job.space.droppable, size)
        ]
        scores = job.evaluate(task, plans, "all plans").values * task.weights / task.weights.mean()
    return Scored(dict(zip(plans, scores, strict=True)), [plans[0], *reference_drops(job.space)], task.metric)


def race_round(table: np.ndarray, plans: list[Plan], size: int, race: Race) -> tuple[int, float]:
    """The plan picked, and the share of the layers of a whole sweep that were computed. `table` is in the order drawn."""
    examples, spent = table.shape[1], 0.0
    for start, end in pairwise((0, *looks(examples, size))):
        spent += count_layers_computed(tuple(plans[index] for index in race.running)) * (end - start)
        race.look(table[race.running, start:end])
    picked = race.running[table[race.running].mean(1).argmax()]
    return int(picked), spent / (count_layers_computed(tuple(plans)) * examples)


def replay(scored: Scored, examples: int, drops: int, size: int, seed: int) -> list[tuple[float, ...]]:
    """One search: for each round the columns of the table, and what differences were cut to."""
    example_indices = np.random.default_rng(seed).permutation(len(scored.values[scored.full]))[:examples]
    current, bound, rounds = scored.full, scored.bound(example_indices), []
    for _ in range(drops):
        candidates = [Plan.drop(current.n_layers, [*current.drops, layer]) for layer in current.kept]
        plans = [plan for plan in candidates if plan in scored.values]
        table = np.stack([scored.values[plan][example_indices] for plan in plans])
        winner = int(table.mean(1).argmax())
        picked, raced = race_round(table, plans, size, Race(len(plans), examples, bound, DELTA))
        exact = 1.0
        if scored.metric.kind == "accuracy":
            _, exact = race_round(table, plans, size, Race(len(plans), examples))
        behind = table[winner] - table[picked]
        error = behind.std(ddof=1) / examples**0.5
        protected = np.clip(table[winner] - table, -bound, bound).mean(1).min() >= 0
        within = behind.mean() <= 0.5 * error
        rounds.append((raced, exact, float(picked == winner), float(within), float(protected), bound))
        current = plans[winner]
    return rounds


def report(scored: Scored, args: argparse.Namespace) -> None:
    """Print what was scored, and the table."""
    n_examples, show = len(scored.values[scored.full]), scored.metric.format
    singles = sorted((values.mean() for plan, values in scored.values.items() if plan.size == 1), reverse=True)
    print(f"{args.model} on {args.task}: {n_examples} examples, {args.searches} searches of {args.drops} rounds,")
    print(f"batches of {args.batch_size}; {scored.metric.name} of the full model "
          f"{show(scored.values[scored.full].mean())}, of single drops {', '.join(map(show, singles))}")  # fmt: skip
    print("  ".join(HEADS))
    for examples in dict.fromkeys(min(count, n_examples) for count in args.examples):
        searches = (replay(scored, examples, args.drops, args.batch_size, seed) for seed in range(args.searches))
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
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        config = PruneConfig(
            model=args.model,
            task=args.task,
            out=Path(folder) / "run",
            search_share=0.99,
            batch_size=args.batch_size,
            score=args.score,
        )
        scored = score_all(config, args.drops)
    report(scored, args)


if __name__ == "__main__":
    main()
