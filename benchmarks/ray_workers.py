"""What a second Ray worker saves: the same round by one worker and by two, of one thread each, on this machine.

A round is that of `search_vs_naive.py`: the full model, then every plan that drops one layer. Runs alternate; scores must be
equal bit for bit to those of this process alone. The driver's own seconds (its processor time, answers stored) for each batch
say how many workers it could feed: a batch's seconds over the driver's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from measure import list_single_drops, machine
from search_vs_naive import make_model, make_task
from transformers import PreTrainedModel

from tapioca.cluster.connect import LOCAL, connect_ray
from tapioca.cluster.dispatch import Dispatcher
from tapioca.cluster.ray_crew import RayCrew
from tapioca.cluster.share import Share
from tapioca.engine.sweep import Schedule
from tapioca.evaluate import evaluate
from tapioca.plan import Plan
from tapioca.runs.store import Store
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches


def time_round(model: PreTrainedModel, task: Task, batch: int, scorer: Dispatcher) -> tuple[float, float, np.ndarray]:
    """Seconds of a round, those of them that this process worked, and the scores."""
    plans = list_single_drops(model)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder), {"data": {}}) as store:
        start, start_work = time.perf_counter(), time.process_time()
        scores = evaluate(model, task, plans, batch_size=batch, result_cache=store, scorer=scorer)
        return time.perf_counter() - start, time.process_time() - start_work, scores.values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    args = parser.parse_args()
    print(machine(args.threads))
    print(
        f"{args.layers} layers of width {args.width}, {args.examples} prompts in batches of {args.batch}, load {os.getloadavg()[0]:.1f}"
    )
    print("          seconds a batch       seconds a round")
    print("tokens  a worker  the driver  1 worker  2 workers  ratio [range]      feeds  scores")
    model = make_model(args.layers, args.width, args.vocabulary)
    with connect_ray(LOCAL, 3) as ray:
        for tokens in args.tokens:
            task = make_task(args.examples, args.vocabulary, (tokens, tokens))
            open_model = partial(tuple, (model, Schedule()))
            scorers = [Dispatcher(RayCrew(ray, Share(count, 1, 0, args.threads), open_model, task)) for count in (1, 2)]
            rounds = [
                [time_round(model, task, args.batch, scorer) for scorer in scorers] for _ in range(args.repeats + 1)
            ]
            n_batches = len(make_batches(task, args.batch))
            expected = evaluate(model, task, [Plan.full(args.layers)], batch_size=args.batch).values[0]
            is_same = all(np.array_equal(scores, rounds[0][0][2]) for row in rounds for _, _, scores in row)
            is_same &= np.array_equal(expected, rounds[0][0][2][0])
            timed = rounds[1:]  # the first waits for the workers to load
            one, two = ([row[index][0] for row in timed] for index in (0, 1))
            driver = median(row[0][1] for row in timed) / n_batches
            ratios = sorted(first / second for first, second in zip(one, two, strict=True))
            each = median(one) / n_batches
            print(
                f"{tokens:6}  {each:8.4f}  {driver:10.4f}  {median(one):8.2f}  {median(two):9.2f}  "
                f"{median(ratios):5.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]  {each / driver:5.0f}  "
                f"{'the same' if is_same else 'DIFFERENT'}",
                flush=True,
            )
            del scorers


if __name__ == "__main__":
    main()
