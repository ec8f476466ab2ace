"""The dry run: what a search would work on and what it would cost, from one timed batch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from tapioca.evaluate import evaluate
from tapioca.flows.check import check
from tapioca.flows.prepare import Job, prepare
from tapioca.flows.search import criterion_of, rehearse, sized
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.cost import flops
from tapioca.models.inputs import collate, has_head
from tapioca.models.load import Loaded
from tapioca.records import Check, Example, Metric, Plan, PruneConfig
from tapioca.records.results import Data
from tapioca.tasks.base import Task
from tapioca.tasks.batches import batches


@dataclass(frozen=True)
class Preview:
    """What a dry run found.

    Attributes:
        prompt: the first example's prompt as text.
        read, scored: the first row, one text per token: what comes first, and what the outputs are compared with.
        criterion: what would choose the plans.
        first_round, all_rounds: seconds of the search's first round, and of all rounds it could make.
        judging: seconds of judging the best plan and the random ones on held-out data.
        flops: floating-point operations of all rounds.
        memory: bytes this process (or the GPU) held at most.
    """

    metric: Metric
    checks: dict[Data, Check]
    prompt: str
    read: tuple[str, ...]
    scored: tuple[str, ...]
    criterion: str
    first_round: float
    all_rounds: float
    judging: float
    flops: float
    memory: int
    folder: str


def preview(
    config: PruneConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> Preview:
    """Stop before the search and tell what it would do. What was scored is kept for the run itself."""
    criterion = criterion_of(config)  # refused before anything is loaded
    job = prepare(config, watcher or Silent(), loaded, tasks)
    space = sized(job, config)
    with job.store:
        seconds, operations = _time_example(job)
        checks = check(job)
    examples = len(job.search["ood"].examples)
    rounds = rehearse(criterion, space)
    judged = sum(len(task.examples) for task in job.test.values()) * (2 + config.random_plans)
    first = job.search["ood"].examples[0]
    read, scored = row_tokens(job.loaded, first)
    return Preview(
        metric=job.metric,
        checks=checks,
        prompt=first.text,
        read=read,
        scored=scored,
        criterion=config.criterion,
        first_round=rounds[0] * seconds * examples,
        all_rounds=sum(rounds) * seconds * examples,
        judging=judged * seconds,
        flops=sum(rounds) * operations * examples,
        memory=_memory(),
        folder=str(job.store.folder),
    )


def _time_example(job: Job) -> tuple[float, float]:
    """Seconds and FLOPs of one example under the full model, from a batch of middling length."""
    cut = batches(job.search["ood"], job.config.batch_size)
    batch = cut[len(cut) // 2]
    task, full = job.search["ood"].only(batch.examples), [Plan.full(job.n_layers)]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        evaluate(job.loaded.model, task, full, batch_size=len(batch.examples))
        times.append(time.perf_counter() - start)
    inputs = collate(job.loaded.model, [row.inputs for example in batch.examples for row in example.rows])
    operations = flops(job.loaded.model, full[0], inputs)
    return min(times) / len(batch.examples), operations / len(batch.examples)


def row_tokens(loaded: Loaded, example: Example) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first row as a person can check it: tokens read first, and tokens or numbers scored."""
    row = example.rows[0]
    if isinstance(row.inputs, np.ndarray) or loaded.tokenizer is None:
        return tuple(f"{value:.2f}" for value, _ in np.asarray(row.inputs)), tuple(
            f"{target:.2f}" for target in row.targets
        )
    ahead = len(row.inputs) - len(row.targets) + 1 if len(row.targets) <= len(row.inputs) else len(row.inputs)
    headed = has_head(loaded.model)
    ids = [list(row.inputs[:ahead]), [] if headed else [int(target) for target in row.targets]]
    read, scored = (
        tuple(f"{token}:{text}" for token, text in zip(part, loaded.tokenizer.convert_ids_to_tokens(part), strict=True))
        for part in ids
    )
    scored = (example.answer,) if headed else scored
    return read, scored


def _memory() -> int:
    """Most bytes held so far: on the GPU where there is one, else now by this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
