"""Model + plans + task -> one score per plan and example.

All plans that are asked for run together, batch by batch, and what they share is computed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError, NonFiniteError
from tapioca.models.apart import find_opening
from tapioca.models.drafts import Drafts, Texts
from tapioca.models.edit import apply
from tapioca.models.feed import Count
from tapioca.models.inputs import collate, has_head, is_causal, max_length
from tapioca.models.opening import Opening
from tapioca.models.sweep import DEFAULT, Schedule, sweep
from tapioca.models.watch import first_non_finite
from tapioca.models.write import write
from tapioca.records import Answer, Plan, Scores, Spent
from tapioca.tasks.base import Task
from tapioca.tasks.batches import Batch, chunks


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
    drafts = schedule.reuse.drafts if schedule.reuse else Drafts(batches=1)
    distinct = list(dict.fromkeys(plans))
    place = {example.id: at for at, example in enumerate(task.examples)}
    table = {plan: np.full((len(place), len(Answer._fields)), np.nan) for plan in distinct}
    running = distinct
    opening = cache(partial(_opening, model, task))
    for chunk in chunks(task, batch_size, seed):
        for batch in chunk.batches:
            at = [place[example.id] for example in batch.examples]
            for plan, answers in _answered(model, task, running, batch, ledger, schedule, drafts, opening):
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
    values = np.stack([table[plan] for plan in plans])
    flags = values[:, :, 2] > 0, values[:, :, 3] > 0
    return Scores(tuple(plans), tuple(place), values[:, :, 0], values[:, :, 1], *flags)


def _answered(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Plan],
    batch: Batch,
    ledger: Ledger,
    schedule: Schedule,
    drafts: Drafts,
    opening: Callable[[], Opening | None],
) -> Iterator[tuple[Plan, list[Answer]]]:
    """The answers of all plans to one batch: those known, then the others, each kept before it is handed on."""
    new = []
    for plan in plans:
        known = ledger.recall(plan, batch.digest)
        if known is None:
            new.append(plan)
        else:
            yield plan, known
    start, count = time.perf_counter(), Count()
    readings = _readings(model, task, new, batch, schedule, count, opening)
    written = _written(model, task, new, batch, schedule, drafts, count)
    spent = (time.perf_counter() - start, count.layers, count.tokens)
    seconds, layers, tokens = (amount / max(1, len(new)) for amount in spent)
    for plan in new:
        start = time.perf_counter()
        answers = _marked(task, plan, batch, iter(readings[plan]), iter(written[plan]))
        ledger.record(
            plan, batch.digest, answers, Spent(seconds + time.perf_counter() - start, layers, tokens, count.difference)
        )
        yield plan, answers


def _opening(model: PreTrainedModel, task: Task) -> Opening | None:
    """What all rows of a task begin with, where the model gives the same answers when it is read apart."""
    rows = sorted((row for example in task.examples for row in example.rows), key=lambda row: len(row.inputs))
    pair = [rows[-1], rows[0]]  # the most padding that any batch could have
    return find_opening(model, [row.inputs for row in pair], task.opening, task.keep(pair)) if task.opening else None


def _readings(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Plan],
    batch: Batch,
    schedule: Schedule,
    count: Count,
    opening: Callable[[], Opening | None],
) -> dict[Plan, list[np.ndarray]]:
    """What a task reads from the outputs of one batch under each plan; nothing is ever ranked on a NaN."""
    if not plans:
        return {}
    rows = [row for example in batch.examples for row in example.rows]
    inputs, found, ahead = collate(model, [row.inputs for row in rows]), {}, opening()
    fed = ahead.batch([row.inputs[len(ahead.ids) :] for row in rows]) if ahead else inputs
    with closing(sweep(model, plans, fed, task.keep(rows), schedule, batch.digest, count, ahead)) as swept:
        for plan, logits in swept:
            if not torch.isfinite(logits[:, -1]).all():
                break
            found[plan] = task.read(logits, rows)
        else:
            return found
    with apply(model, plan):
        where = first_non_finite(model, plan, inputs)
    advice = "check its weights" if model.dtype == torch.float32 else "try --dtype float32"
    ids = f"{batch.examples[0].id} ... {batch.examples[-1].id}" if len(batch.examples) > 1 else batch.examples[0].id
    raise NonFiniteError(f"NaN or infinity under plan '{plan}' from {where} on (examples {ids}); {advice}")


def _written(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Plan],
    batch: Batch,
    schedule: Schedule,
    drafts: Drafts,
    count: Count,
) -> dict[Plan, Texts]:
    """What the model writes under each plan where the task asks for it."""
    if not plans or not task.budget:
        return {plan: [] for plan in plans}
    prompts = [example.prompt for example in batch.examples]
    return write(model, plans, prompts, task.budget, task.ended, schedule, drafts, count, batch.digest)


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


def check_task(model: PreTrainedModel, task: Task) -> None:
    """Refuse a task the model cannot read or cannot be asked.

    Raises:
        DataError: the model reads token ids and the task holds numbers, or the other way round; or the model ends in
            a classification head and the task does not ask it, or the other way round.
        ModelError: the model sees later tokens, so it could read the answers off its input; or it cannot write.
    """
    numbers = isinstance(task.examples[0].rows[0].inputs, np.ndarray)
    if numbers != (model.main_input_name != "input_ids"):
        kinds = {True: "numbers", False: "text"}
        raise DataError(
            f"{task.name} holds {kinds[numbers]}, but the model reads {kinds[not numbers]}; use a task of its kind"
        )
    longest = max(example.length for example in task.examples)
    if longest > max_length(model):
        raise DataError(
            f"{task.name} has rows of {longest} tokens, but the model reads at most {max_length(model)}; shorten them"
        )
    if task.classifies != has_head(model):
        ends = "ends in a classification head; use kind: classify" if has_head(model) else "has no classification head"
        raise DataError(f"{task.name} is no task for this {model.config.model_type} model, which {ends}")
    if task.classifies and model.config.problem_type == "multi_label_classification":
        raise ModelError("this head gives several labels at once; use one with a single label or a number")
    if task.budget and not model.can_generate():
        raise ModelError(f"this {model.config.model_type} model cannot write text; use a causal language model")
    row = np.asarray(max((row.inputs for row in task.examples[0].rows), key=len))
    if not task.classifies and not is_causal(model, row):
        raise ModelError(
            f"this {model.config.model_type} model sees later tokens; scores need a causal (decoder) model"
        )
