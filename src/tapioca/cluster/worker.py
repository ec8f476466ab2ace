"""What works on batches somewhere else: a model, and the task it is being asked."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from tapioca.engine.sweep import Schedule
from tapioca.evaluate.batch import BatchAnswers, BatchEvaluator
from tapioca.evaluate.scorer import ScoreRequest
from tapioca.tasks.base import Task

OpenModel = Callable[[], tuple[PreTrainedModel, Schedule]]
"""Loads the model where the worker is, and says how plans run together there."""


class Worker:
    """A worker; its errors begin with its name.

    Args:
        name: what to call it.
        threads: of torch.
    """

    def __init__(self, name: str, threads: int):
        self.name, self.threads = f"{name} on {platform.node()}", threads
        self._model: PreTrainedModel | None = None
        self._evaluator: BatchEvaluator | None = None

    def load(self, open_model: OpenModel) -> None:
        """Make the model ready."""
        with self._named_errors():
            torch.set_num_threads(self.threads)
            self._model, self._schedule = open_model()

    def take_task(self, task: Task, keeps_states: bool) -> None:
        """Be asked this task from now on, and keep states of its batches for later rounds or not."""
        assert self._model
        schedule = self._schedule if keeps_states else replace(self._schedule, state_cache=None)
        self._evaluator = BatchEvaluator(self._model, task, schedule)

    def score(self, request: ScoreRequest, *done_before: object) -> tuple[BatchAnswers, ...]:
        """The answers to a batch; `done_before` is what had to be done first."""
        assert self._evaluator
        with self._named_errors():
            return tuple(self._evaluator.evaluate_batch(request.plans, request.batch))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.args = (f"{self.name}: {error}", *error.args[1:])
            raise
