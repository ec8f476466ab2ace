"""Model + plans + task -> one score per plan and example.

All plans that are asked for run together, batch by batch, and what they share is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from transformers import PreTrainedModel

from tapioca.evaluate.ask import Asker, Forgetful, Ledger
from tapioca.models.sweep import DEFAULT, Schedule
from tapioca.records import NO_CHOICE, Answer, Plan, Scores
from tapioca.tasks.base import Task
from tapioca.tasks.batches import chunks


class Stopping(Protocol):
    """Decides after every look at the scores which plans go on; a plan that stops never comes back."""

    running: np.ndarray

    def look(self, scores: np.ndarray) -> np.ndarray:
        """Take the scores of the running plans on the next examples, (running plan, example), in the order drawn;
        returns the numbers of the plans that go on."""


def evaluate(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Plan],
    *,
    batch_size: int = 16,
    ledger: Ledger | None = None,
    on_batch: Callable[[Plan, int], None] | None = None,
    stopping: Stopping | None = None,
    seed: int | None = None,
    schedule: Schedule = DEFAULT,
) -> Scores:
    """Score plans on every example of a task, or until a plan is stopped.

    Args:
        model: any model whose layers can be found; left as it was.
        task: examples and how they are marked.
        plans: the plans to score; repeated plans are scored once.
        batch_size: examples in a batch; part of what is measured.
        ledger: recalls answers already known and keeps new ones, batch by batch.
        on_batch: called with a plan and the number of examples it is done with: after each batch, and when it stops.
        stopping: told the scores as they come, of all plans, which must then be distinct; says which of them go on.
        seed: of a random order of the examples, part of what is measured; None runs the longest first.
        schedule: how plans run together.

    Returns:
        Scores with the examples in the task's own order; NaN for what a stopped plan was not asked any more.

    Raises:
        NonFiniteError: an output is NaN or infinite; names the layer where that began.
        ModelError: a plan does not fit the model.
    """
    ledger = Forgetful() if ledger is None else ledger
    asker = Asker(model, task, schedule)
    distinct = list(dict.fromkeys(plans))
    place = {example.id: at for at, example in enumerate(task.examples)}
    table = {plan: np.full((len(place), len(Answer._fields)), np.nan) for plan in distinct}
    running = distinct
    for chunk in chunks(task, batch_size, seed):
        for batch in chunk.batches:
            at = [place[example.id] for example in batch.examples]
            for plan, answers in asker.answers(running, batch, ledger):
                table[plan][at] = answers
                if on_batch:
                    on_batch(plan, len(batch.examples))
        if stopping:
            at = [place[example.id] for example in chunk.examples]
            left = [plans[number] for number in stopping.look(np.stack([table[plan][at, 0] for plan in running]))]
            for plan in set(running) - set(left):
                if on_batch:
                    on_batch(plan, int(np.isnan(table[plan][:, 0]).sum()))
            running = left
    return _scores(plans, tuple(place), np.stack([table[plan] for plan in plans]))


def _scores(plans: Sequence[Plan], ids: tuple[str, ...], table: np.ndarray) -> Scores:
    """The fields of all answers, float64 of shape (plan, example, field of `Answer`), NaN where nothing was asked."""
    column = dict(zip(Answer._fields, np.moveaxis(table, -1, 0), strict=True))
    return Scores(
        plans=tuple(plans),
        ids=ids,
        values=column["score"],
        likelihoods=column["likelihood"],
        truncated=column["truncated"] > 0,
        tied=column["tied"] > 0,
        predicted=np.nan_to_num(column["predicted"], nan=NO_CHOICE).astype(np.int64),
        unparsed=column["unparsed"] > 0,
        lengths=np.nan_to_num(column["length"]).astype(np.int64),
    )
