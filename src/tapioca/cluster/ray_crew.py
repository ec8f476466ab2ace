"""A crew of Ray actors."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tapioca.cluster.dispatch import Report
from tapioca.cluster.share import Share
from tapioca.cluster.worker import OpenModel, Worker
from tapioca.errors import ModelError, first_line
from tapioca.evaluate.scorer import ScoreRequest
from tapioca.tasks.base import Task


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
            if isinstance(error.cause, self._ray.exceptions.RayError):  # it could not even read what it was sent
                raise ModelError(
                    f"{worker} cannot read what it was sent ({first_line(error.cause):.200}); install the same packages "
                    "on every machine"
                ) from error
            raise error.cause from error
        except self._ray.exceptions.RayError:
            self._ray.kill(self._actors[worker])
            self._start(worker)
            return Report(worker, "lost")
        return Report(worker, "answered", answers) if has_answers else Report(worker, "ready")
