"""Documents of lm-evaluation-harness tasks, scored by its own filters and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tapioca.errors import DataError, did_you_mean
from tapioca.records import NO_CHOICE, Answer, Example, Row
from tapioca.tasks.base import Task, log_likelihoods
from tapioca.tasks.choice import tied
from tapioca.tasks.writing import Writing


@dataclass(frozen=True, eq=False)
class Harness(Task):
    """Documents of an lm-eval task, scored by lm-eval's own filters and metric from this package's log-likelihoods.

    Attributes:
        requests: lm-eval's requests of each example, by its id.
        tasks: the lm-eval task of each example, by its id.
        measure: the lm-eval metric that is the score; empty for the gold answer's likelihood.
        pipeline: name of the lm-eval filter whose results are marked.
    """

    requests: dict[str, list[Any]] = field(default_factory=dict)
    tasks: dict[str, Any] = field(default_factory=dict)
    measure: str = ""
    pipeline: str = "none"

    @property
    def rules(self) -> str:
        """Which of lm-eval's results is the score."""
        return repr((self.measure, self.pipeline))

    def keep(self, rows: Sequence[Row]) -> int:
        return max(len(row.targets) for row in rows)

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        """The continuation's log-likelihood, and whether it is what greedy decoding would write."""
        found = []
        for tokens, row_logits, row in zip(log_likelihoods(logits, rows), logits, rows, strict=True):
            likeliest = row_logits[-len(row.targets) :].argmax(-1).tolist()
            found.append(np.array([float(tokens.sum()), float(likeliest == list(row.targets))]))
        return found

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        task, requests = self.tasks[example.id], self.requests[example.id]
        if not np.isfinite(readings).all():
            return Answer(float("nan"), float("nan"))
        total = float(sum(reading[0] for reading in readings))
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            return Answer(total / example.weight, total / example.weight)
        pairs = [(float(reading[0]), bool(reading[1])) for reading in readings]
        gold = total if example.gold is None else pairs[example.gold][0] / example.rows[example.gold].length
        values = self._choice_values(example, pairs)
        predicted = int(np.argmax(values)) if values else NO_CHOICE
        if not self.measure:
            return Answer(gold, gold, predicted=predicted)
        return Answer(
            score=score_of(task, requests, pairs, self.measure, self.pipeline),
            likelihood=gold,
            tied=self.measure in ("acc", "acc_norm") and len(values) > 1 and tied(values),
            predicted=predicted,
        )

    def _choice_values(self, example: Example, pairs: list[tuple[float, bool]]) -> list[float]:
        """Each choice's log-likelihood as the measure divides it; where two are equal, what lm-eval scores hangs on its
        own rounding. Empty where there are no choices."""
        if example.gold is None:
            return []
        values = [value / row.length for (value, _), row in zip(pairs, example.rows, strict=True)]
        if "acc_mutual_info" not in self.tasks[example.id]._metric_fn_list:
            return values
        conditional, unconditional = values[: len(values) // 2], values[len(values) // 2 :]
        if self.measure != "acc_mutual_info":
            return conditional
        return [value - without for value, without in zip(conditional, unconditional, strict=True)]


@dataclass(frozen=True, eq=False, kw_only=True)
class HarnessText(Writing, Harness):
    """Documents to which the model writes the answer; their rows read the gold answer, for its likelihood."""

    @property
    def budget(self) -> int:
        """Most tokens written: none where the likelihood is the score."""
        return self.max_new_tokens if self.measure else 0

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        gold = float(readings[0][0]) / len(example.rows[0].targets)
        if not self.measure:
            return Answer(gold, gold)
        ids = readings[1].tolist()
        text = self.answer_text(ids) or ""
        task, requests = self.tasks[example.id], self.requests[example.id]
        return Answer(
            score=score_of(task, requests, [text], self.measure, self.pipeline),
            likelihood=gold,
            truncated=len(ids) == self.budget and not self.ended(ids),
            unparsed=not text.strip() or found_nothing(task, requests[0], self.pipeline),
            length=len(ids),
        )


def found_nothing(task: Any, request: Any, pipeline: str) -> bool:
    """Whether a filter that looks for an answer put what it says instead of one in the filtered response."""
    ensemble = next(ensemble for ensemble in task._filters if ensemble.name == pipeline)
    fallbacks = [each.fallback for make in ensemble.filters if hasattr(each := make(), "fallback")]
    response = request.filtered_resps[pipeline]
    first = response[0] if isinstance(response, list) and response else response
    return response in fallbacks or first in fallbacks


def score_of(task: Any, requests: list[Any], responses: Sequence[Any], measure: str, pipeline: str) -> float:
    """One document's score: lm-eval's filter and `process_results` on the responses to its requests.

    Raises:
        DataError: the metric is no number per document, but something to aggregate.
    """
    for request, response in zip(requests, responses, strict=True):
        request.resps, request.filtered_resps = [response], {}
    next(ensemble for ensemble in task._filters if ensemble.name == pipeline).apply(requests)
    results = task.process_results(requests[0].doc, [request.filtered_resps[pipeline] for request in requests])
    value = results.get(measure)
    if not isinstance(value, (int, float, np.number)):
        raise DataError(f"lm-eval's metric '{measure}' is no mean over documents; {did_you_mean(measure, results)}")
    return float(value)
