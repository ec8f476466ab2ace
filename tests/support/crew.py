"""A crew of workers in this process, whose order and losses a test decides."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from tapioca.cluster.dispatch import Report
from tapioca.cluster.worker import OpenModel, Worker
from tapioca.evaluate.scorer import ScoreRequest
from tapioca.tasks.base import Task


class InProcessCrew:
    """Workers that compute when it is their turn.

    Args:
        n_workers: how many there are.
        open_model: gives all of them their model.
        choose: of the workers at work, the longest at it first, the one whose turn it is.
        loses: whether a worker is lost over its so-manyth batch, counted from 0 over all of its lives.

    Attributes:
        assigned: every batch given to a worker, by its digest.
    """

    def __init__(
        self,
        n_workers: int,
        open_model: OpenModel,
        choose: Callable[[list[str]], str] = itemgetter(0),
        loses: Callable[[str, int], bool] = lambda worker, batch: False,
    ):
        self._open_model, self._choose, self._loses = open_model, choose, loses
        self._workers: dict[str, Worker] = {}
        self._work: dict[str, tuple[Task, ScoreRequest] | None] = {}
        self.assigned: list[tuple[str, str]] = []
        for number in range(n_workers):
            self._start(f"worker {number + 1}")

    def _start(self, worker: str) -> None:
        self._workers[worker] = Worker(worker, threads=1)
        self._workers[worker].load(self._open_model)
        self._work[worker] = None

    def assign(self, worker: str, task: Task, request: ScoreRequest) -> None:
        assert worker not in self._work
        self._work[worker] = task, request
        self.assigned.append((worker, request.batch.digest))

    def wait(self) -> Report:
        ready = [name for name, work in self._work.items() if work is None]
        worker = ready[0] if ready else self._choose(list(self._work))
        work = self._work.pop(worker)
        if work is None:
            return Report(worker, "ready")
        if self._loses(worker, [name for name, _ in self.assigned].count(worker) - 1):
            self._start(worker)
            return Report(worker, "lost")
        task, request = work
        self._workers[worker].take_task(task, keeps_states=False)
        return Report(worker, "answered", self._workers[worker].score(request))
