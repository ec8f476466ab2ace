"""The processes of a study: each measures one model after another, and none outlives the process that began it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from queue import Empty
from typing import NamedTuple

import torch

from tapioca.errors import StoreError
from tapioca.progress import Progress
from tapioca.runs.lock import FolderLock
from tapioca.studies.measure.work import ModelWork


class Link(NamedTuple):
    """What a worker and the process that began it share.

    Attributes:
        done: the worker's names of finished files.
        stop: set where no further file is to be begun.
    """

    done: "Queue[str]"
    stop: Event


_links: list[Link] = []
"""In a worker its link, which can only be handed over when the process starts."""


def measure_parts(parts: list[ModelWork], workers: int, watcher: Progress, lock: FolderLock) -> None:
    """Measure all models, several at once, each in a process with its share of the threads.

    Raises:
        TapiocaError: one line about what is wrong with a model or the data, or that a process was killed.
    """
    watcher.stage("measuring", sum(len(part.files) for part in parts))
    if not parts:
        return
    workers = min(workers, len(parts))
    threads = max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers))
    context = multiprocessing.get_context("spawn")
    link = Link(context.Queue(), context.Event())
    with ProcessPoolExecutor(workers, context, _begin, (threads, link)) as pool:
        try:
            with _signals_ignored():
                futures = [pool.submit(_measure_part, part) for part in parts]
            _report_progress(futures, link, watcher, lock)
        except BrokenProcessPool as error:
            raise StoreError(
                "a process that measured was killed (out of memory?); call again with fewer --workers"
            ) from error
        finally:  # after an error or Ctrl-C the others stop at their next file
            link.stop.set()


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Have the processes that start in the body ignore what asks a whole group of them to end: theirs is to obey `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _begin(threads: int, link: Link) -> None:
    """In a new worker."""
    torch.set_num_threads(threads)
    _links.append(link)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End the worker where the process that began it is gone, killed perhaps."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _measure_part(part: ModelWork) -> None:
    """In a worker: measure one model, file by file."""
    [link] = _links
    if link.stop.is_set():
        return
    for path in part.measure():
        link.done.put(part.name_file(path))
        if link.stop.is_set():
            return


def _report_progress(futures: list[Future[None]], link: Link, watcher: Progress, lock: FolderLock) -> None:
    """Pass on what is finished; raise what went wrong."""
    while True:
        lock.check()
        is_finished = all(future.done() for future in futures)
        try:
            while True:
                watcher.status(link.done.get(timeout=0.0 if is_finished else 0.5))
                watcher.advance(1)
        except Empty:
            pass
        for future in futures:
            if future.done():
                future.result()
        if is_finished:
            return
