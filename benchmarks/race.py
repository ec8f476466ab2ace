"""What a race costs, and whether it picks as the exact search does: many seeded searches on one trained model.

All plans of up to a few drops are scored once on all examples. Searches are then replayed from these scores: each
draws a number of examples and an order by its seed, follows the exact search from round to round, and races every
round. Costs are layers computed by the sweep of the plans still running, as a share of the sweep of all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from tapioca.flows.prepare import prepare
from tapioca.flows.watcher import Silent
from tapioca.records import Plan, PruneConfig
from tapioca.records.tree import layers_computed
from tapioca.search.race import DELTA, Race
from tapioca.tasks.batches import LOOK


def score_all(config: PruneConfig, drops: int) -> dict[Plan, np.ndarray]:
    """The scores of all plans of up to `drops` drops on every example."""
    job = prepare(config, Silent())
    with job.store:
        plans = [
            Plan.drop(job.n_layers, some)
            for size in range(drops + 1)
            for some in combinations(job.space.droppable, size)
        ]
        scores = job.evaluate(job.search["ood"], plans, "all plans")
    return dict(zip(plans, scores.values, strict=True))


def race_round(table: np.ndarray, plans: list[Plan], look: int, delta: float) -> tuple[int, float]:
    """The plan picked, and the share of the layers of a whole sweep that were computed. `table` is in the order drawn."""
    examples = table.shape[1]
    race, spent = Race(len(plans), examples, delta=delta), 0.0
    for start in range(0, examples, look):
        new = table[:, start : start + look]
        spent += layers_computed(tuple(plans[at] for at in race.running)) * new.shape[1]
        race.look(new[race.running])
    picked = race.running[table[race.running].mean(1).argmax()]
    return int(picked), spent / (layers_computed(tuple(plans)) * examples)


def replay(scores: dict[Plan, np.ndarray], examples: int, drops: int, look: int, seed: int) -> list[tuple[float, ...]]:
    """One search: for each round the costs of racing and of exact stopping, whether the pick is the exact winner, and
    by how many paired standard errors it is worse."""
    full = next(iter(scores))
    order = np.random.default_rng(seed).permutation(len(scores[full]))[:examples]
    current, found = full, []
    for _ in range(drops):
        plans = [Plan.drop(full.n_layers, [*current.drops, layer]) for layer in current.kept]
        plans = [plan for plan in plans if plan in scores]
        table = np.stack([scores[plan][order] for plan in plans])
        winner = int(table.mean(1).argmax())
        picked, raced = race_round(table, plans, look, DELTA)
        _, exact = race_round(table, plans, look, 0.0)
        behind = table[winner] - table[picked]
        error = behind.std(ddof=1) / examples**0.5
        found.append((raced, exact, float(picked == winner), behind.mean() / error if error else 0.0))
        current = plans[winner]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("task")
    parser.add_argument("--drops", type=int, default=3)
    parser.add_argument("--examples", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        config = PruneConfig(
            model=asked.model, task=asked.task, out=Path(folder) / "run", search_share=0.99, batch_size=asked.batch_size
        )
        scores = score_all(config, asked.drops)
    whole = len(next(iter(scores.values())))
    means = sorted((float(values.mean()) for plan, values in scores.items() if plan.size == 1), reverse=True)
    print(f"{asked.model} on {asked.task}: {whole} examples, {asked.searches} searches of {asked.drops} rounds")
    print(f"full model {100 * scores[next(iter(scores))].mean():.1f} %, single drops "
          f"{', '.join(f'{100 * mean:.1f}' for mean in means)} %")  # fmt: skip
    print("examples  race costs  exact stop costs  same pick  within 1/2 standard error")
    for examples in dict.fromkeys(min(count, whole) for count in asked.examples):
        seeds = range(asked.searches)
        rows = np.array(
            [row for seed in seeds for row in replay(scores, examples, asked.drops, LOOK * asked.batch_size, seed)]
        )
        raced, exact, same, behind = rows.T
        print(
            f"{examples:8}  {raced.mean():10.0%}  {exact.mean():16.0%}  {same.mean():9.0%}  {(behind <= 0.5).mean():9.1%}"
        )


if __name__ == "__main__":
    main()
