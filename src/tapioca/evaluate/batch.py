"""Ask a model one batch of a task under many plans: what they share is computed once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.engine.decode import PromptBatch
from tapioca.engine.generate import generate_texts
from tapioca.engine.options import SweepInput
from tapioca.engine.speculative import DraftStore, Texts
from tapioca.engine.sweep import Schedule, sweep
from tapioca.errors import NonFiniteError, UsageError
from tapioca.evaluate.reading import Reader
from tapioca.models.capture import find_first_non_finite
from tapioca.models.edit import apply
from tapioca.models.identity import describe_model
from tapioca.models.inputs import collate
from tapioca.plan import Answerer, OutputSum, Plan
from tapioca.records import ComputeCost, ExampleScore, Request
from tapioca.tasks.base import Task
from tapioca.tasks.batches import Batch


class BatchAnswers(NamedTuple):
    """A plan's answers to one batch, or a sum's of outputs, and its share of what they cost."""

    plan: Answerer
    answers: list[ExampleScore]
    spent: ComputeCost


class BatchEvaluator:
    """A model, left as it was after each batch, and the task it is asked."""

    def __init__(self, model: PreTrainedModel, task: Task, schedule: Schedule):
        self.model, self.task, self.schedule = model, task, schedule
        self._reader = Reader(model, task)
        self._drafts = schedule.state_cache.drafts if schedule.state_cache else DraftStore(batches=1)

    def evaluate_batch(self, plans: Sequence[Answerer], batch: Batch) -> Iterator[BatchAnswers]:
        """The answers of all plans, or sums of their outputs, to one batch, each as soon as it is marked.

        Raises:
            NonFiniteError: an output or a score is NaN or infinite.
            UsageError: the task has texts written, and sums of outputs write none.
        """
        if not plans:
            return
        start, cost = time.perf_counter(), ComputeCost()
        readings_by_plan = self.read_outputs(plans, batch, cost)
        texts_by_plan = self._generate_texts(plans, batch, cost)
        cost.add(ComputeCost(seconds=time.perf_counter() - start))
        for plan in plans:
            start, spent = time.perf_counter(), cost.share(len(plans))
            answers = _score_batch(self.task, plan, batch, iter(readings_by_plan[plan]), iter(texts_by_plan[plan]))
            spent.add(ComputeCost(seconds=time.perf_counter() - start))
            yield BatchAnswers(plan, answers, spent)

    def read_outputs(
        self, asked: Sequence[Answerer], batch: Batch, cost: ComputeCost
    ) -> dict[Answerer, list[np.ndarray]]:
        """What the task reads from the outputs of one batch under each plan, and from sums of outputs, which are held until
        all have come."""
        rows = [row for example in batch.examples for row in example.rows]
        sums = [output_sum for output_sum in asked if isinstance(output_sum, OutputSum)]
        summed = {plan for output_sum in sums for plan in output_sum.plans}
        plans = dict.fromkeys([*(plan for plan in asked if isinstance(plan, Plan)), *summed])
        readings: dict[Answerer, list[np.ndarray]] = {}
        held: dict[Plan, torch.Tensor] = {}
        for plan, logits in self._run_plans(list(plans), batch, cost):
            if plan in asked:
                readings[plan] = self.task.extract(logits, rows)
            if plan in summed:
                held[plan] = logits
        for output_sum in sums:
            logits = torch.stack([weight * held[plan] for plan, weight in output_sum.terms]).sum(0)
            readings[output_sum] = self.task.extract(logits, rows)
        return readings

    def _run_plans(self, plans: Sequence[Plan], batch: Batch, cost: ComputeCost) -> Iterator[tuple[Plan, torch.Tensor]]:
        """The outputs of one batch under each plan; nothing is ever ranked on a NaN."""
        for runs_alone in (False, True):  # plans that share no pass share no opening or context either
            if group := [plan for plan in plans if plan.runs_alone is runs_alone]:
                sweep_input = self._reader.collate(batch.examples, batch.digest, whole=runs_alone)
                yield from self._sweep(group, sweep_input, batch, cost)

    def _sweep(
        self, plans: Sequence[Plan], sweep_input: SweepInput, batch: Batch, cost: ComputeCost
    ) -> Iterator[tuple[Plan, torch.Tensor]]:
        with closing(sweep(self.model, plans, sweep_input, self.schedule, cost)) as swept:
            for plan, logits in swept:
                if not torch.isfinite(logits[:, -1]).all():
                    break
                yield plan, logits
            else:
                return
        raise self._explain_non_finite(plan, batch, [row for example in batch.examples for row in example.rows])

    def _explain_non_finite(self, plan: Plan, batch: Batch, rows: Sequence[Request]) -> NonFiniteError:
        """Says where a plan's outputs first were NaN or infinite."""
        with apply(self.model, plan):
            where = find_first_non_finite(self.model, plan, collate(self.model, [row.inputs for row in rows]))
        advice = "check its weights" if self.model.dtype == torch.float32 else "try --dtype float32"
        ids = " ... ".join(dict.fromkeys((batch.examples[0].id, batch.examples[-1].id)))
        return NonFiniteError(
            f"NaN or infinity in '{describe_model(self.model)}' under plan '{plan}' from {where} on (examples {ids}); {advice}"
        )

    def _generate_texts(self, asked: Sequence[Answerer], batch: Batch, cost: ComputeCost) -> dict[Answerer, Texts]:
        """What the model writes under each plan where the task asks for it."""
        task = self.task
        if not task.max_new_tokens:
            return {answerer: [] for answerer in asked}
        plans = [plan for plan in asked if isinstance(plan, Plan)]
        if len(plans) < len(asked):
            raise UsageError(f"{task.name} has texts written, one plan at a time; sums of outputs write none")
        prompts = [example.prompt for example in batch.examples]
        prompt_batch = PromptBatch(prompts, task.max_new_tokens, task.is_finished, batch.digest)
        texts = generate_texts(self.model, plans, prompt_batch, self.schedule, self._drafts, cost)
        return {plan: texts[plan] for plan in plans}


def _score_batch(
    task: Task, plan: Answerer, batch: Batch, readings: Iterator[np.ndarray], written: Iterator[np.ndarray]
) -> list[ExampleScore]:
    """Mark one batch under one plan."""
    answers = [
        task.score(example, [*islice(readings, len(example.rows)), *islice(written, 1)]) for example in batch.examples
    ]
    for example, answer in zip(batch.examples, answers, strict=True):
        if not np.isfinite(answer).all():
            raise NonFiniteError(
                f"the score of example '{example.id}' under plan '{plan}' is {answer.score}; check its targets"
            )
    return answers
