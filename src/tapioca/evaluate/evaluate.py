"""Model + plans + task -> one score per plan and example.

All plans that are asked for run together, batch by batch, and what they share is computed once.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from transformers import PreTrainedModel

from tapioca.engine.sweep import DEFAULT_SCHEDULE, Schedule
from tapioca.evaluate.batch import BatchEvaluator, ResultCache
from tapioca.plan import Plan
from tapioca.records import NO_CHOICE, ExampleScore, Scores
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_chunks


class StoppingRule(Protocol):
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
    result_cache: ResultCache | None = None,
    on_batch: Callable[[Plan, int], None] | None = None,
    stopping: StoppingRule | None = None,
    seed: int | None = None,
    schedule: Schedule = DEFAULT_SCHEDULE,
) -> Scores:
    """Score plans on every example of a task, or until a plan is stopped.

    Args:
        model: any model whose layers can be found; left as it was.
        task: examples and how they are marked.
        plans: the plans to score; repeated plans are scored once.
        batch_size: examples in a batch; part of what is measured.
        result_cache: recalls answers already known and keeps new ones, batch by batch.
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
    asker = BatchEvaluator(model, task, schedule)
    distinct = list(dict.fromkeys(plans))
    index_by_id = {example.id: index for index, example in enumerate(task.examples)}
    values_by_plan = {plan: np.full((len(index_by_id), len(ExampleScore._fields)), np.nan) for plan in distinct}
    running_plans = distinct
    for chunk in make_chunks(task, batch_size, seed):
        for batch in chunk.batches:
            indices = [index_by_id[example.id] for example in batch.examples]
            for plan, answers in asker.evaluate_batch(running_plans, batch, result_cache):
                values_by_plan[plan][indices] = answers
                if on_batch:
                    on_batch(plan, len(batch.examples))
        if stopping:
            indices = [index_by_id[example.id] for example in chunk.examples]
            running_scores = np.stack([values_by_plan[plan][indices, 0] for plan in running_plans])
            remaining_plans = [plans[number] for number in stopping.look(running_scores)]
            for plan in set(running_plans) - set(remaining_plans):
                if on_batch:
                    on_batch(plan, int(np.isnan(values_by_plan[plan][:, 0]).sum()))
            running_plans = remaining_plans
    return _scores_from_table(plans, tuple(index_by_id), np.stack([values_by_plan[plan] for plan in plans]))


def _scores_from_table(plans: Sequence[Plan], ids: tuple[str, ...], table: np.ndarray) -> Scores:
    """The fields of all answers, float64 of shape (plan, example, field of `ExampleScore`), NaN where nothing was asked."""
    column = dict(zip(ExampleScore._fields, np.moveaxis(table, -1, 0), strict=True))
    return Scores(
        plans=tuple(plans),
        ids=ids,
        values=column["score"],
        log_likelihoods=column["log_likelihood"],
        truncated=column["truncated"] > 0,
        tied=column["tied"] > 0,
        predicted=np.nan_to_num(column["predicted"], nan=NO_CHOICE).astype(np.int64),
        unparsed=column["unparsed"] > 0,
        lengths=np.nan_to_num(column["length"]).astype(np.int64),
    )
