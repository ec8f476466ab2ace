"""The dry run: what a search would work on and what it would cost, from a sample; it leaves nothing behind."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from tapioca.errors import DataError
from tapioca.evaluate import evaluate
from tapioca.flows.check import check
from tapioca.flows.estimate import Shorter, Workload, judged_plans, shorten
from tapioca.flows.prepare import Ground, Job, gather, job_of
from tapioca.flows.search import criterion_of, rehearse, sized
from tapioca.flows.tokens import row_tokens
from tapioca.flows.watcher import Silent, Watcher
from tapioca.models.cost import flops
from tapioca.models.decode import decode
from tapioca.models.inputs import collate
from tapioca.models.load import Loaded
from tapioca.observe import sample
from tapioca.records import Check, Metric, Plan, PruneConfig
from tapioca.records.results import Data
from tapioca.runs.store import Store
from tapioca.tasks.base import Task
from tapioca.tasks.batches import batches

READ, RUN, WRITTEN = 512, 64, 2
"""Most examples of each data set that are read; of these, those that are scored; and answers that are written."""


@dataclass(frozen=True)
class Written:
    """What the full model writes after a prompt."""

    text: str
    gold: str


@dataclass(frozen=True)
class Preview:
    """What a dry run found.

    Attributes:
        checks: what the data can show, for their full sizes, from a sample.
        sampled: how many search examples of each data set were scored for it.
        prompt: the first example's prompt as text.
        read, scored: the first row, one text per token: what comes first, and what the outputs are compared with.
        head_labels: labels of the model's classification head, 0 where it gives a number; None where it has no head.
        written: what the model writes after the first prompts, where it writes.
        criterion: what would choose the plans.
        work: what the run would go through, and how long it would take.
        shorter: what would shorten it most.
        flops: floating-point operations of all rounds.
        memory: bytes this process (or the GPU) held at most.
    """

    metric: Metric
    checks: dict[Data, Check]
    sampled: dict[Data, int]
    prompt: str
    read: tuple[str, ...]
    scored: tuple[str, ...]
    head_labels: int | None
    written: tuple[Written, ...]
    criterion: str
    work: Workload
    shorter: Shorter | None
    flops: float
    memory: int


def preview(
    config: PruneConfig,
    watcher: Watcher | None = None,
    loaded: Loaded | None = None,
    tasks: dict[str, Task] | None = None,
) -> Preview:
    """Tell what a search would do, without doing it. Nothing is kept, and no folder is made.

    Args:
        config: the request.
        watcher: told about progress.
        loaded: a live model to use instead of loading `config.model`.
        tasks: live tasks by their name in `config`.

    Raises:
        TapiocaError: one line about what is wrong with the request, the data or the model.
    """
    criterion = criterion_of(config)  # refused before anything is loaded
    watcher = watcher or Silent()
    ground = _read(config, watcher, loaded, tasks)
    with TemporaryDirectory() as scratch, Store(Path(scratch) / "run", ground.manifest) as store:
        job = job_of(config, _sampled(ground, config), store, watcher)
        space = sized(job, config)
        seconds, operations = _time_example(job)
        checks = check(job)
    sizes = _sizes(ground, config)
    judged, plans = judged_plans(criterion, space)
    work = Workload(
        rounds=tuple(rehearse(criterion, space)),
        judged=judged,
        plans=plans,
        search=sizes["ood"][0],
        test=sum(test for _, test in sizes.values()),
        seconds=seconds,
    )
    first = job.search["ood"].examples[0]
    read, scored = row_tokens(job.loaded, first)
    return Preview(
        metric=job.metric,
        checks={data: _scaled(found, ground, data, sizes[data]) for data, found in checks.items()},
        sampled={data: found.n_search for data, found in checks.items()},
        prompt=first.text,
        read=read,
        scored=scored,
        head_labels=len(first.choices) if job.search["ood"].classifies else None,
        written=_written(job),
        criterion=config.criterion,
        work=work,
        shorter=shorten(config, work, criterion, space),
        flops=sum(work.rounds) * operations * work.search,
        memory=_memory(),
    )


def _read(config: PruneConfig, watcher: Watcher, loaded: Loaded | None, tasks: dict[str, Task] | None) -> Ground:
    """The model and the first examples of each data set; all of them where those are of too few groups to be split."""
    if config.limit and config.limit <= READ:
        return gather(config, watcher, loaded, tasks)
    try:
        return gather(config.model_copy(update={"limit": READ}), watcher, loaded, tasks)
    except DataError:  # or something is wrong with the data, which is then said of all of them
        return gather(config, watcher, loaded, tasks)


def _sampled(ground: Ground, config: PruneConfig) -> Ground:
    """The same with few search examples of each data set; of different groups where some are left out."""
    search = {
        data: task if len(task.examples) <= RUN else task.only(sample(task.examples, RUN, config.seed))
        for data, task in ground.search.items()
    }
    return replace(ground, search=search)


def _sizes(ground: Ground, config: PruneConfig) -> dict[Data, tuple[int, int]]:
    """Search and test examples of each data set as the run would have them, by the shares of what was read."""
    sizes: dict[Data, tuple[int, int]] = {}
    for data, task in ground.search.items():
        whole = min(task.available, config.limit or task.available)
        if data == "ood" and config.test:
            test = ground.test["ood"].available
            sizes[data] = whole, min(test, config.limit or test)
        else:
            parts = len(task.examples), len(ground.test[data].examples)
            share = parts[0] / sum(parts)
            sizes[data] = round(share * whole), whole - round(share * whole)
    return sizes


def _scaled(found: Check, ground: Ground, data: Data, sizes: tuple[int, int]) -> Check:
    """A check of a sample as one of the whole data; the error of a gain falls with the root of the test examples."""
    search, test = sizes
    detectable = found.detectable * (len(ground.test[data].examples) / test) ** 0.5
    return found.model_copy(update={"n_search": search, "n_test": test, "detectable": detectable})


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


def _written(job: Job) -> tuple[Written, ...]:
    """What the full model writes after the first prompts."""
    task, tokenizer = job.search["ood"], job.loaded.tokenizer
    if not task.budget or tokenizer is None:
        return ()
    some = task.examples[:WRITTEN]
    texts = decode(job.loaded.model, [example.prompt for example in some], task.budget, task.ended)
    return tuple(
        Written(str(tokenizer.decode(ids.tolist(), skip_special_tokens=True)), example.answer)
        for example, ids in zip(some, texts, strict=True)
    )


def _memory() -> int:
    """Most bytes held so far: on the GPU where there is one, else now by this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
