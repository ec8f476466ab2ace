"""Who computes answers: this process, or others that are handed batches."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from transformers import PreTrainedModel

from tapioca.engine.sweep import Schedule
from tapioca.evaluate.batch import BatchAnswers, BatchEvaluator
from tapioca.plan import Answerer
from tapioca.tasks.base import Task
from tapioca.tasks.batches import Batch


class ScoreRequest(NamedTuple):
    """A batch, and the plans whose answers to it are wanted; there may be none."""

    batch: Batch
    plans: list[Answerer]


class Scorer(Protocol):
    """Computes answers. Whoever does gives the same ones, in the same order."""

    def score(self, task: Task, requests: Iterator[ScoreRequest]) -> Iterator[Iterable[BatchAnswers]]:
        """The answers to each request, in the order of requests.

        Requests are taken up no earlier than there is somebody to work on them, since what is asked of a batch depends on
        the answers to those before.

        Raises:
            NonFiniteError: an output or a score is NaN or infinite.
            ModelError: a plan does not fit the model, or the device has no memory for a batch.
        """


class LocalScorer:
    """This process, with its own model.

    Args:
        model: left as it was after each batch.
        schedule: how plans run together.
    """

    def __init__(self, model: PreTrainedModel, schedule: Schedule):
        self.model, self.schedule = model, schedule

    def score(self, task: Task, requests: Iterator[ScoreRequest]) -> Iterator[Iterable[BatchAnswers]]:
        """The answers to each request, computed as they are read."""
        evaluator = BatchEvaluator(self.model, task, self.schedule)
        for request in requests:
            yield evaluator.evaluate_batch(request.plans, request.batch)
