"""Ask a model one batch of a task under many plans: what they share is computed once, what is known is not asked again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.apart import find_opening
from tapioca.models.drafts import Drafts, Texts
from tapioca.models.edit import apply
from tapioca.models.feed import Count
from tapioca.models.inputs import collate
from tapioca.models.opening import Opening
from tapioca.models.sweep import Schedule, sweep
from tapioca.models.watch import first_non_finite
from tapioca.models.write import write
from tapioca.records import Answer, Plan, Row, Spent
from tapioca.tasks.base import Task
from tapioca.tasks.batches import Batch


class Ledger(Protocol):
    """Remembers answers, so that nothing is evaluated twice."""

    def recall(self, plan: Plan, batch: str) -> list[Answer] | None:
        """The answers of a plan to a batch, or None if they are not known."""

    def record(self, plan: Plan, batch: str, answers: list[Answer], spent: Spent) -> None:
        """Keep the answers of a plan to a batch, and its share of what was spent on them."""


class Forgetful:
    """A ledger that remembers nothing."""

    def recall(self, plan: Plan, batch: str) -> list[Answer] | None:
        return None

    def record(self, plan: Plan, batch: str, answers: list[Answer], spent: Spent) -> None:
        pass


class Asker:
    """A model and the task it is asked.

    Args:
        model: left as it was after each batch.
        task: examples and how they are marked.
        schedule: how plans run together.
    """

    def __init__(self, model: PreTrainedModel, task: Task, schedule: Schedule):
        self.model, self.task, self.schedule = model, task, schedule
        self._drafts = schedule.reuse.drafts if schedule.reuse else Drafts(batches=1)

    def answers(self, plans: Sequence[Plan], batch: Batch, ledger: Ledger) -> Iterator[tuple[Plan, list[Answer]]]:
        """The answers of all plans to one batch: those known, then the others, each kept before it is handed on.

        Raises:
            NonFiniteError: an output or a score is NaN or infinite.
        """
        known = {plan: ledger.recall(plan, batch.digest) for plan in plans}
        yield from ((plan, answers) for plan, answers in known.items() if answers is not None)
        if not (new := [plan for plan, answers in known.items() if answers is None]):
            return
        start, count = time.perf_counter(), Count()
        readings, written = self._readings(new, batch, count), self._written(new, batch, count)
        spent = (time.perf_counter() - start, count.layers, count.tokens)
        seconds, layers, tokens = (amount / len(new) for amount in spent)
        for plan in new:
            start = time.perf_counter()
            answers = _marked(self.task, plan, batch, iter(readings[plan]), iter(written[plan]))
            cost = Spent(seconds + time.perf_counter() - start, layers, tokens, count.difference)
            ledger.record(plan, batch.digest, answers, cost)
            yield plan, answers

    @cached_property
    def _opening(self) -> Opening | None:
        """What all rows of the task begin with, where the model gives the same answers when it is read apart."""
        if not self.task.opening:
            return None
        rows = sorted((row for one in self.task.examples for row in one.rows), key=lambda row: len(row.inputs))
        pair = [rows[-1], rows[0]]  # the most padding that any batch could have
        return find_opening(self.model, [row.inputs for row in pair], self.task.opening, self.task.keep(pair))

    def _readings(self, plans: Sequence[Plan], batch: Batch, count: Count) -> dict[Plan, list[np.ndarray]]:
        """What the task reads from the outputs of one batch under each plan; nothing is ever ranked on a NaN."""
        rows, opening, found = [row for example in batch.examples for row in example.rows], self._opening, {}
        if opening:
            inputs = opening.batch([row.inputs[len(opening.ids) :] for row in rows])
        else:
            inputs = collate(self.model, [row.inputs for row in rows])
        keep = self.task.keep(rows)
        with closing(sweep(self.model, plans, inputs, keep, self.schedule, batch.digest, count, opening)) as swept:
            for plan, logits in swept:
                if not torch.isfinite(logits[:, -1]).all():
                    break
                found[plan] = self.task.read(logits, rows)
            else:
                return found
        raise self._broken(plan, batch, rows)

    def _broken(self, plan: Plan, batch: Batch, rows: Sequence[Row]) -> NonFiniteError:
        """Says where a plan's outputs first were NaN or infinite."""
        with apply(self.model, plan):
            where = first_non_finite(self.model, plan, collate(self.model, [row.inputs for row in rows]))
        advice = "check its weights" if self.model.dtype == torch.float32 else "try --dtype float32"
        ids = " ... ".join(dict.fromkeys((batch.examples[0].id, batch.examples[-1].id)))
        return NonFiniteError(f"NaN or infinity under plan '{plan}' from {where} on (examples {ids}); {advice}")

    def _written(self, plans: Sequence[Plan], batch: Batch, count: Count) -> dict[Plan, Texts]:
        """What the model writes under each plan where the task asks for it."""
        task = self.task
        if not task.budget:
            return {plan: [] for plan in plans}
        prompts = [example.prompt for example in batch.examples]
        return write(
            self.model, plans, prompts, task.budget, task.ended, self.schedule, self._drafts, count, batch.digest
        )


def _marked(
    task: Task, plan: Plan, batch: Batch, readings: Iterator[np.ndarray], written: Iterator[np.ndarray]
) -> list[Answer]:
    """Mark one batch under one plan."""
    answers = [
        task.mark(example, [*islice(readings, len(example.rows)), *islice(written, 1)]) for example in batch.examples
    ]
    for example, answer in zip(batch.examples, answers, strict=True):
        if not np.isfinite(answer).all():
            raise NonFiniteError(
                f"the score of example '{example.id}' under plan '{plan}' is {answer.score}; check its targets"
            )
    return answers
