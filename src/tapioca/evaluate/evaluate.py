"""Model + plans + task -> one score per plan and example.

All plans that are asked for run together, batch by batch, and what they share is computed once.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from transformers import PreTrainedModel

from tapioca.engine.sweep import DEFAULT_SCHEDULE, Schedule
from tapioca.evaluate.batch import BatchAnswers
from tapioca.evaluate.scorer import LocalScorer, Scorer, ScoreRequest
from tapioca.plan import Answerer
from tapioca.records import NO_CHOICE, ComputeCost, Example, ExampleScore, Scores
from tapioca.tasks.base import Task
from tapioca.tasks.batches import Batch, Chunk, make_chunks


class ResultCache(Protocol):
    """Remembers answers, so that nothing is evaluated twice."""

    def recall(self, plan: Answerer, batch: str) -> list[ExampleScore] | None:
        """The answers of a plan to a batch, or None if they are not known."""

    def record(self, plan: Answerer, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
        """Keep the answers of a plan to a batch, and its share of what was spent on them."""


class StoppingRule(Protocol):
    """Decides after every look at the scores which plans go on; a plan that stops never comes back."""

    running: np.ndarray

    def look(self, scores: np.ndarray) -> np.ndarray:
        """Take the scores of the running plans on the next examples, (running plan, example), in the order drawn;
        returns the numbers of the plans that go on."""


def evaluate(
    model: PreTrainedModel,
    task: Task,
    plans: Sequence[Answerer],
    *,
    batch_size: int = 16,
    result_cache: ResultCache | None = None,
    on_batch: Callable[[Answerer, int], None] | None = None,
    stopping: StoppingRule | None = None,
    seed: int | None = None,
    schedule: Schedule = DEFAULT_SCHEDULE,
    scorer: Scorer | None = None,
) -> Scores:
    """Score plans on every example of a task, or until a plan is stopped.

    Args:
        model: any model whose layers can be found; left as it was.
        task: examples and how they are marked.
        plans: the plans to score, or sums of their outputs; repeated ones are scored once.
        batch_size: examples in a batch; part of what is measured.
        result_cache: recalls answers already known and keeps new ones, batch by batch.
        on_batch: called with a plan and the number of examples it is done with: after each batch, and when it stops.
        stopping: told the scores as they come, of all plans, which must then be distinct; says which of them go on.
        seed: of a random order of the examples, part of what is measured; None runs the longest first.
        schedule: how plans run together in this process.
        scorer: who computes the answers, with the same model; this process by default.

    Returns:
        Scores with the examples in the task's own order; NaN for what a stopped plan was not asked any more.

    Raises:
        NonFiniteError: an output is NaN or infinite; names the layer where that began.
        ModelError: a plan does not fit the model.
    """
    evaluation = _Evaluation(task, plans, result_cache, on_batch or (lambda plan, done: None))
    chunks = make_chunks(task, batch_size, seed)
    all_batches = (batch for chunk in chunks for batch in chunk.batches)
    scored = (scorer or LocalScorer(model, schedule)).score(task, evaluation.make_requests(all_batches))
    for chunk in chunks:
        for batch, new_answers in zip(chunk.batches, scored, strict=False):
            evaluation.take_answers(batch, new_answers)
        if stopping:
            evaluation.stop_plans(chunk, stopping)
    return evaluation.to_scores()


class _Evaluation:
    """Answers as they come, taken batch by batch in their one order: what is stored and who is stopped depends on nothing
    else, however far ahead of it batches are asked for.

    Attributes:
        running_plans: those not stopped.
    """

    def __init__(
        self,
        task: Task,
        plans: Sequence[Answerer],
        result_cache: ResultCache | None,
        on_batch: Callable[[Answerer, int], None],
    ):
        self.plans, self.running_plans = tuple(plans), dict.fromkeys(plans)
        self._result_cache, self._on_batch = result_cache, on_batch
        self._index_by_id = {example.id: index for index, example in enumerate(task.examples)}
        shape = len(task.examples), len(ExampleScore._fields)
        self._values_by_plan = {plan: np.full(shape, np.nan) for plan in self.running_plans}
        # of batches asked for and not taken yet
        self._known_answers: deque[dict[Answerer, list[ExampleScore]]] = deque()

    def make_requests(self, batches: Iterable[Batch]) -> Iterator[ScoreRequest]:
        """What is to be computed of each batch: the answers of the plans that run by now, where they are not known."""
        for batch in batches:
            known = self._recall(batch)
            self._known_answers.append(known)
            yield ScoreRequest(batch, [plan for plan in self.running_plans if plan not in known])

    def _recall(self, batch: Batch) -> dict[Answerer, list[ExampleScore]]:
        if self._result_cache is None:
            return {}
        recalled = {plan: self._result_cache.recall(plan, batch.digest) for plan in self.running_plans}
        return {plan: answers for plan, answers in recalled.items() if answers is not None}

    def take_answers(self, batch: Batch, new_answers: Iterable[BatchAnswers]) -> None:
        """Take the answers to the next batch, and keep those that are new; those of plans stopped since it was asked for
        are as if they had never been."""
        for plan, answers in self._known_answers.popleft().items():
            self._set_values(plan, batch, answers)
        for plan, answers, spent in new_answers:
            if plan not in self.running_plans:
                continue
            if self._result_cache is not None:
                self._result_cache.record(plan, batch.digest, answers, spent)
            self._set_values(plan, batch, answers)

    def _set_values(self, plan: Answerer, batch: Batch, answers: list[ExampleScore]) -> None:
        if plan in self.running_plans:
            self._values_by_plan[plan][self._find_indices(batch.examples)] = answers
            self._on_batch(plan, len(batch.examples))

    def stop_plans(self, chunk: Chunk, stopping: StoppingRule) -> None:
        """Have a rule look at the scores of a chunk, where any plan still runs."""
        if not self.running_plans:
            return
        indices = self._find_indices(chunk.examples)
        running_scores = np.stack([self._values_by_plan[plan][indices, 0] for plan in self.running_plans])
        remaining_plans = dict.fromkeys(self.plans[number] for number in stopping.look(running_scores))
        for plan in self.running_plans.keys() - remaining_plans:
            self._on_batch(plan, int(np.isnan(self._values_by_plan[plan][:, 0]).sum()))
        self.running_plans = remaining_plans

    def _find_indices(self, examples: Iterable[Example]) -> list[int]:
        return [self._index_by_id[example.id] for example in examples]

    def to_scores(self) -> Scores:
        """Scores of all plans, in the order asked for."""
        table = np.stack([self._values_by_plan[plan] for plan in self.plans])
        return _scores_from_table(self.plans, tuple(self._index_by_id), table)


def _scores_from_table(plans: Sequence[Answerer], ids: tuple[str, ...], table: np.ndarray) -> Scores:
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
