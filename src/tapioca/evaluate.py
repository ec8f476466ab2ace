"""Model + plans + task -> one score per plan and example.

Batches depend on the task alone, never on the plan or on what was done before: the same examples are
padded the same way for every plan, so differences between plans are differences between plans.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import DataError, ModelError, NonFiniteError
from tapioca.models.decode import decode
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, forward, has_head, is_causal, max_length
from tapioca.models.watch import first_non_finite
from tapioca.records import Answer, Example, Plan, Scores
from tapioca.tasks.base import Task, example_digest


class Ledger(Protocol):
    """Remembers answers, so that nothing is evaluated twice."""

    def recall(self, plan: Plan, batch: str) -> list[Answer] | None:
        """The answers of a plan to a batch, or None if they are not known."""

    def record(self, plan: Plan, batch: str, answers: list[Answer], seconds: float) -> None:
        """Keep the answers of a plan to a batch, and how long they took."""


class Forgetful:
    """A ledger that remembers nothing."""

    def recall(self, plan: Plan, batch: str) -> list[Answer] | None:
        return None

    def record(self, plan: Plan, batch: str, answers: list[Answer], seconds: float) -> None:
        pass


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples that are always run together, and a digest of everything the model reads for them."""

    examples: tuple[Example, ...]
    digest: str


@lru_cache(maxsize=8)
def batches(task: Task, size: int) -> list[Batch]:
    """Cut a task into batches of `size` examples of similar length; the longest come first."""
    ordered = sorted(task.examples, key=lambda example: (-example.length, example.id))
    cut = [tuple(ordered[at : at + size]) for at in range(0, len(ordered), size)]
    return [Batch(examples, _digest(task, examples)) for examples in cut]


def evaluate(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Plan],
    *,
    batch_size: int = 16,
    ledger: Ledger | None = None,
    on_batch: Callable[[Plan, int], None] | None = None,
) -> Scores:
    """Score plans on every example of a task.

    Args:
        model: any model whose layers can be found; left as it was.
        task: examples and how they are marked.
        plans: the plans to score; repeated plans are scored once.
        batch_size: examples in a batch; part of what is measured.
        ledger: recalls answers already known and keeps new ones, batch by batch.
        on_batch: called after each batch with the plan and the number of examples done in it.

    Returns:
        Scores with the examples in the task's own order.

    Raises:
        NonFiniteError: an output is NaN or infinite; names the layer where that began.
        ModelError: a plan does not fit the model.
    """
    ledger = Forgetful() if ledger is None else ledger
    cut = batches(task, batch_size)
    place = {example.id: at for at, example in enumerate(task.examples)}
    values = np.full((len(plans), len(place), len(Answer._fields)), np.nan)
    first_row: dict[Plan, int] = {}
    for row, plan in enumerate(plans):
        if plan in first_row:
            values[row] = values[first_row[plan]]
            continue
        first_row[plan] = row
        for batch in cut:
            answers = ledger.recall(plan, batch.digest)
            if answers is None:
                start = time.perf_counter()
                answers = _answers(model, task, plan, batch)
                ledger.record(plan, batch.digest, answers, time.perf_counter() - start)
            values[row, [place[example.id] for example in batch.examples]] = answers
            if on_batch:
                on_batch(plan, len(batch.examples))
    flags = values[:, :, 2] > 0, values[:, :, 3] > 0
    return Scores(tuple(plans), tuple(place), values[:, :, 0], values[:, :, 1], *flags)


def _answers(model: PreTrainedModel, task: Task, plan: Plan, batch: Batch) -> list[Answer]:
    """Run one batch under one plan and mark it."""
    rows = [row for example in batch.examples for row in example.rows]
    inputs = collate(model, [row.inputs for row in rows])
    with apply(model, plan):
        readings = iter(task.read(_finite(model, plan, inputs, task.keep(rows), batch), rows))
        prompts = [example.prompt for example in batch.examples] if task.budget else []
        written = iter(decode(model, prompts, task.budget, task.ended))
    answers = [
        task.mark(example, [*(next(readings) for _ in example.rows), *islice(written, 1)]) for example in batch.examples
    ]
    for example, answer in zip(batch.examples, answers, strict=True):
        if not np.isfinite(answer).all():
            raise NonFiniteError(
                f"the score of example '{example.id}' under plan '{plan}' is {answer.score}; check its targets"
            )
    return answers


def _finite(
    model: PreTrainedModel, plan: Plan, inputs: dict[str, torch.Tensor], keep: int, batch: Batch
) -> torch.Tensor:
    """Outputs of a batch, checked: nothing is ever ranked on a NaN."""
    logits = forward(model, inputs, keep)
    if torch.isfinite(logits[:, -1]).all():
        return logits
    where = first_non_finite(model, plan, inputs)
    advice = "check its weights" if model.dtype == torch.float32 else "try --dtype float32"
    ids = f"{batch.examples[0].id} ... {batch.examples[-1].id}" if len(batch.examples) > 1 else batch.examples[0].id
    raise NonFiniteError(f"NaN or infinity under plan '{plan}' from {where} on (examples {ids}); {advice}")


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


def _digest(task: Task, examples: Sequence[Example]) -> str:
    """Names a batch by all that can change its answers: the reader, the metric and what is read, in order."""
    said = [type(task).__name__, task.metric.model_dump_json(), task.rules, *map(example_digest, examples)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
