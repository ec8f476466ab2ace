"""Which worker gets which batch. What comes of it does not depend on that: answers are handed on in the order of batches.

A batch stays with the worker that had it first, which keeps its hidden states for later rounds. A worker without work takes
over one that another would come to last. What a lost worker was at is given out again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol

from tapioca.errors import ModelError
from tapioca.evaluate.batch import BatchAnswers
from tapioca.evaluate.scorer import ScoreRequest
from tapioca.tasks.base import Task

LOOKAHEAD = 4
"""Batches for each worker that may be taken up before the first of them is answered: what a slow worker may lag behind."""

MAX_LOSSES = 3
"""How often a worker, or whoever works on a batch, may be lost in a row."""


class Report(NamedTuple):
    """What became of a worker: it is ready for its first batch, has answered one, or is lost."""

    worker: str
    event: Literal["ready", "answered", "lost"]
    answers: tuple[BatchAnswers, ...] = ()


class Crew(Protocol):
    """Workers; one that is lost is replaced by one of the same name, which reports when it is ready."""

    def assign(self, worker: str, task: Task, request: ScoreRequest) -> None:
        """Give a worker without work a batch."""

    def wait(self) -> Report:
        """The next thing to happen to a worker.

        Raises:
            TapiocaError: what a worker says is wrong, behind its name.
        """


class Dispatcher:
    """A `Scorer` that hands batches to a crew.

    Args:
        crew: the workers.
        on_loss: told what is to be said of a worker that is lost.
    """

    def __init__(self, crew: Crew, on_loss: Callable[[str], None] = lambda text: None):
        self.crew, self._on_loss = crew, on_loss
        self._idle: list[str] = []
        self._busy: dict[str, int] = {}
        self._owner_by_batch: dict[str, str] = {}
        self._losses: Counter[str] = Counter()

    def score(self, task: Task, requests: Iterator[ScoreRequest]) -> Iterator[tuple[BatchAnswers, ...]]:
        """The answers to each request, in the order of requests.

        Raises:
            ModelError: workers are killed again and again; or as any `Scorer`.
        """
        queue = _Queue(requests)
        while True:
            self._hand_out(task, queue)
            if (answers := queue.pop_next_answers()) is not None:
                yield answers
            elif queue.is_done:
                return
            else:
                self._take_report(self.crew.wait(), queue)

    def _hand_out(self, task: Task, queue: _Queue) -> None:
        """Give every worker without work a batch, as long as there are any."""
        limit = LOOKAHEAD * max(1, len(self._idle) + len(self._busy))
        for worker in list(self._idle):
            number = queue.choose(worker, self._owner_by_batch, limit)
            if number is None:
                continue
            request = queue.waiting.pop(number)
            queue.in_work[number] = request
            self._owner_by_batch[request.batch.digest] = worker
            self._idle.remove(worker)
            self._busy[worker] = number
            self.crew.assign(worker, task, request)

    def _take_report(self, report: Report, queue: _Queue) -> None:
        number = self._busy.pop(report.worker, None)
        if report.event == "lost":
            self._forget(report.worker, queue.in_work.get(number) if number is not None else None)
            queue.put_back(number)
            self._on_loss(f"{report.worker} is lost; what it was at is given out again")
            return
        self._idle.append(report.worker)
        if number is not None:
            self._losses.pop(report.worker, None)
            queue.finish(number, report.answers)

    def _forget(self, worker: str, request: ScoreRequest | None) -> None:
        """A worker is lost, with what it kept of its batches.

        Raises:
            ModelError: that has happened too often.
        """
        self._idle = [name for name in self._idle if name != worker]
        self._owner_by_batch = {batch: owner for batch, owner in self._owner_by_batch.items() if owner != worker}
        losses = [worker, *([request.batch.digest] if request else [])]
        self._losses.update(losses)
        if max(self._losses[name] for name in losses) < MAX_LOSSES:
            return
        ids = (
            " ... ".join(dict.fromkeys((request.batch.examples[0].id, request.batch.examples[-1].id)))
            if request
            else ""
        )
        place = f"over examples {ids}" if request else "before its first batch"
        raise ModelError(
            f"{worker} was killed {place}, {MAX_LOSSES} in a row (out of memory?); use a smaller --batch-size or fewer --workers"
        )


class _Queue:
    """Requests between being taken up and being answered.

    Attributes:
        waiting, in_work: by their number in the order of requests.
    """

    def __init__(self, requests: Iterator[ScoreRequest]):
        self._requests, self._is_exhausted = enumerate(requests), False
        self.waiting: dict[int, ScoreRequest] = {}
        self.in_work: dict[int, ScoreRequest] = {}
        self._answers: dict[int, tuple[BatchAnswers, ...]] = {}
        self._next = 0

    @property
    def is_done(self) -> bool:
        """Whether all there is has been handed on."""
        return self._is_exhausted and not (self.waiting or self.in_work or self._answers)

    def choose(self, worker: str, owner_by_batch: dict[str, str], limit: int) -> int | None:
        """The number of the request a worker should take: the next that is its own or nobody's, else the last of another's."""
        while True:
            for number in sorted(self.waiting):
                if owner_by_batch.get(self.waiting[number].batch.digest, worker) == worker:
                    return number
            if not self._take_up(limit):
                return max(self.waiting, default=None)

    def _take_up(self, limit: int) -> bool:
        """Take up one more request, where so many are not under way yet."""
        if self._is_exhausted or len(self.waiting) + len(self.in_work) + len(self._answers) >= limit:
            return False
        number, request = next(self._requests, (0, None))
        if request is None:
            self._is_exhausted = True
        elif request.plans:
            self.waiting[number] = request
        else:
            self._answers[number] = ()
        return request is not None

    def put_back(self, number: int | None) -> None:
        """A request whose worker is lost waits again."""
        if number is not None and number in self.in_work:
            self.waiting[number] = self.in_work.pop(number)

    def finish(self, number: int, answers: tuple[BatchAnswers, ...]) -> None:
        """A request is answered."""
        if self.in_work.pop(number, None):
            self._answers[number] = answers

    def pop_next_answers(self) -> tuple[BatchAnswers, ...] | None:
        """The answers to the first request that is not handed on; None where they are still to come."""
        answers = self._answers.pop(self._next, None)
        self._next += answers is not None
        return answers
