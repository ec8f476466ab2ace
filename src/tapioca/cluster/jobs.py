"""Jobs that workers of a cluster do side by side, each from its beginning to its end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import torch

from tapioca.cluster.dispatch import MAX_LOSSES
from tapioca.cluster.share import Share
from tapioca.errors import ModelError

Job = Callable[[], Iterator[str]]
"""Names each thing that it has done, in an order of its own; begun again, it goes on from what is done."""

SECONDS_BETWEEN_LOOKS = 0.5


def run_jobs(
    ray: ModuleType, share: Share, jobs: Mapping[str, Job], on_loss: Callable[[str], None]
) -> Iterator[set[str]]:
    """Have jobs done; gives twice a second what they have done since.

    Args:
        ray: connected.
        share: how many run at once, and what each has.
        jobs: by their names; they travel to the workers.
        on_loss: told what is to be said of a worker that is lost; its job begins again.

    Raises:
        ModelError: workers are killed over the same job again and again.
        Exception: whatever a job raises.
    """
    work = ray.remote(_work).options(num_cpus=share.cpus, num_gpus=share.gpus, num_returns="streaming", max_retries=0)
    waiting, losses, done = deque(jobs), Counter[str](), set[str]()
    running: dict[Any, str] = {}  # by what is to come
    try:
        while waiting or running:
            while waiting and len(running) < share.workers:
                name = waiting.popleft()
                running[work.remote(jobs[name], share.threads)] = name
            news = set[str]()
            for stream in ray.wait(list(running), timeout=SECONDS_BETWEEN_LOOKS)[0]:
                name = running.pop(stream)
                try:
                    news.add(ray.get(next(stream)))
                    running[stream] = name
                except StopIteration:
                    continue
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    losses[name] += 1
                    _refuse_loss(name, losses[name], error)
                    on_loss(f"the worker that measured {name} is lost; another goes on with it")
                    waiting.appendleft(name)
            yield news - done
            done |= news
    finally:
        for stream in running:
            with suppress(ray.exceptions.RayError):  # it is done by now
                ray.cancel(stream, force=True)


def _refuse_loss(name: str, losses: int, error: Exception) -> None:
    """A worker is lost."""
    if losses >= MAX_LOSSES:
        raise ModelError(
            f"workers that measured {name} were killed {losses} times (out of memory?); use fewer --workers"
        ) from error


def _work(job: Job, threads: int) -> Iterator[str]:
    """In a worker: do a job."""
    torch.set_num_threads(threads)
    yield from job()
