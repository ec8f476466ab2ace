"""A crew of Ray actors: the only module that knows Ray."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from tapioca.cluster.dispatch import Report
from tapioca.cluster.worker import OpenModel, Worker
from tapioca.errors import UsageError, first_line
from tapioca.evaluate.scorer import ScoreRequest
from tapioca.tasks.base import Task

LOCAL = "local"
"""The address of a Ray that lives in this machine as long as the command."""

CORES = 4
"""Of a worker without a GPU, where nobody says how many workers there are to be."""

SECONDS_TO_CONNECT = 10.0

HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
HTTP2_SETTINGS = b"\x04"
"""What gRPC, which Ray speaks, begins with: the client's words and an empty frame of settings, and the fourth byte of the
answer, which is one too."""

ADVICE = "give the HOST:PORT that `ray start --head` printed, on a machine of that cluster, or --ray local for this machine alone"


@contextmanager
def connect_ray(address: str, n_workers: int | None) -> Iterator[ModuleType]:
    """Ray, connected to a cluster, or to one of this machine's that ends with the body; one that the process uses already
    is left as it is.

    Raises:
        UsageError: Ray is not installed, does not start, or does not answer at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs the package ray; install it with: pip install 'tapioca-prune[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:
        where |= {"num_cpus": max(os.cpu_count() or 1, n_workers or 1), "include_dashboard": False}
        os.environ.setdefault("RAY_worker_niceness", "0")  # else they yield to all else that runs here
    else:
        _refuse_unreachable(address)
    try:
        with _handler_of_sigterm_kept():
            try:
                ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # Ray raises bare ones too
                raise UsageError(f"--ray {address}: {first_line(error):.200}; {ADVICE}") from error
        yield ray
    finally:
        ray.shutdown()


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody listens, since Ray would wait for somebody for a long time."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"--ray {address} is no address; {ADVICE}")
    try:
        with socket.create_connection((host, int(port)), SECONDS_TO_CONNECT) as connection:
            connection.sendall(HTTP2_GREETING)
            if connection.recv(4)[3:] != HTTP2_SETTINGS and os.environ.get("RAY_USE_TLS") != "1":
                raise ConnectionError("whoever listens is no head of Ray's")
    except (OSError, OverflowError) as error:
        raise UsageError(f"--ray {address}: no answer from there ({first_line(error)}); {ADVICE}") from error


@contextmanager
def _handler_of_sigterm_kept() -> Iterator[None]:
    """Undo that Ray puts a handler of its own in the place of this program's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@dataclass(frozen=True)
class Share:
    """What each worker has of a cluster.

    Attributes:
        workers: how many there are.
        cpus, gpus: of each.
        threads: of torch in each: no more than this process has, since how many there are can change the rounding.
    """

    workers: int
    cpus: float
    gpus: int
    threads: int

    @classmethod
    def choose(cls, nodes: list[dict[str, Any]], n_workers: int | None, on_gpu: bool) -> Share:
        """One worker for each GPU, or for every `CORES` cores, or as many as are asked for.

        Args:
            nodes: what each machine of the cluster has, as Ray names it.
            n_workers: how many are asked for.
            on_gpu: whether the model of this process is on one, where those of workers must be too.

        Raises:
            UsageError: there are not so many GPUs or cores.
        """
        counts = [int(node.get("GPU" if on_gpu else "CPU", 0)) for node in nodes]
        workers = n_workers or (sum(counts) if on_gpu else sum(max(1, count // CORES) for count in counts if count))
        each = next(
            (size for size in range(max(counts, default=0), 0, -1) if sum(n // size for n in counts) >= workers), 0
        )
        if not (workers and each):
            kind = "GPUs" if on_gpu else "cores"
            raise UsageError(f"--workers {workers}: the cluster has {sum(counts)} {kind}; ask for at most one for each")
        return cls(workers, 1 if on_gpu else each, int(on_gpu), min(each, torch.get_num_threads()))


class RayCrew:
    """Workers that are Ray actors.

    Args:
        ray: connected.
        share: what each worker has.
        open_model: sent once, with all that it holds.
        kept_task: the task whose states are kept for later rounds.
    """

    def __init__(self, ray: ModuleType, share: Share, open_model: OpenModel, kept_task: Task):
        self._ray, self._share, self._kept_task = ray, share, kept_task
        self._open_model, self._tasks = ray.put(open_model), dict[Task, Any]()
        self._actors: dict[str, Any] = {}
        self._task_of: dict[str, tuple[Task, Any]] = {}  # by worker: its task, and that it has taken it
        self._awaited: dict[Any, tuple[str, bool]] = {}  # by what is to come: the worker, and whether it is answers
        for number in range(share.workers):
            self._start(f"worker {number + 1}")

    def _start(self, worker: str) -> None:
        """Have an actor made as soon as the cluster has room for it, which loads the model."""
        needs = {"num_cpus": self._share.cpus, "num_gpus": self._share.gpus, "max_restarts": 0}
        self._actors[worker] = self._ray.remote(Worker).options(**needs).remote(worker, self._share.threads)
        self._task_of.pop(worker, None)
        self._awaited[self._actors[worker].load.remote(self._open_model)] = worker, False

    def assign(self, worker: str, task: Task, request: ScoreRequest) -> None:
        """Give a worker a batch, behind the task where it has another."""
        actor = self._actors[worker]
        if self._task_of.get(worker, (None, None))[0] is not task:
            if task not in self._tasks:
                self._tasks[task] = self._ray.put(task)
            self._task_of[worker] = task, actor.take_task.remote(self._tasks[task], task is self._kept_task)
        self._awaited[actor.score.remote(request, self._task_of[worker][1])] = worker, True

    def wait(self) -> Report:
        """The next thing to happen; in the place of an actor that is gone another is started."""
        [reference], _ = self._ray.wait(list(self._awaited), num_returns=1)
        worker, has_answers = self._awaited.pop(reference)
        try:
            answers = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError:
            self._ray.kill(self._actors[worker])
            self._start(worker)
            return Report(worker, "lost")
        return Report(worker, "answered", answers) if has_answers else Report(worker, "ready")
