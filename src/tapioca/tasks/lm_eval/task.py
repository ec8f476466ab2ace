"""Documents of lm-evaluation-harness tasks, scored by its own filters and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tapioca.errors import DataError, did_you_mean
from tapioca.records import NO_CHOICE, Example, ExampleScore, Request
from tapioca.tasks.base import Task, compute_log_likelihoods
from tapioca.tasks.choice import is_tied
from tapioca.tasks.writing import Writing


@dataclass(frozen=True, eq=False)
class LmEvalTask(Task):
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
    def cache_key(self) -> str:
        """Which of lm-eval's results is the score."""
        return repr((self.measure, self.pipeline))

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        """The continuation's log-likelihood, and whether it is what greedy decoding would write."""
        readings = []
        for tokens, row_logits, row in zip(compute_log_likelihoods(logits, rows), logits, rows, strict=True):
            likeliest = row_logits[-len(row.targets) :].argmax(-1).tolist()
            readings.append(np.array([float(tokens.sum()), float(likeliest == list(row.targets))]))
        return readings

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        task, requests = self.tasks[example.id], self.requests[example.id]
        if not np.isfinite(readings).all():
            return ExampleScore(float("nan"), float("nan"))
        total = float(sum(reading[0] for reading in readings))
        if task.OUTPUT_TYPE == "loglikelihood_rolling":
            return ExampleScore(total / example.weight, total / example.weight)
        pairs = [(float(reading[0]), bool(reading[1])) for reading in readings]
        gold = total if example.gold is None else pairs[example.gold][0] / example.rows[example.gold].normalizer
        values = self._choice_values(example, pairs)
        predicted = int(np.argmax(values)) if values else NO_CHOICE
        if not self.measure:
            return ExampleScore(gold, gold, predicted=predicted)
        return ExampleScore(
            score=score_document(task, requests, pairs, self.measure, self.pipeline),
            log_likelihood=gold,
            tied=self.measure in ("acc", "acc_norm") and len(values) > 1 and is_tied(values),
            predicted=predicted,
        )

    def _choice_values(self, example: Example, pairs: list[tuple[float, bool]]) -> list[float]:
        """Each choice's log-likelihood as the measure divides it; where two are equal, what lm-eval scores hangs on its
        own rounding. Empty where there are no choices."""
        if example.gold is None:
            return []
        values = [log_likelihood / row.normalizer for (log_likelihood, _), row in zip(pairs, example.rows, strict=True)]
        if "acc_mutual_info" not in self.tasks[example.id]._metric_fn_list:
            return values
        conditional, unconditional = values[: len(values) // 2], values[len(values) // 2 :]
        if self.measure != "acc_mutual_info":
            return conditional
        return np.subtract(conditional, unconditional).tolist()


@dataclass(frozen=True, eq=False, kw_only=True)
class LmEvalTextTask(Writing, LmEvalTask):
    """Documents to which the model writes the answer; their rows read the gold answer, for its likelihood."""

    @property
    def max_new_tokens(self) -> int:
        """Most tokens written: none where the likelihood is the score."""
        return self.token_limit if self.measure else 0

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        gold = float(readings[0][0]) / len(example.rows[0].targets)
        if not self.measure:
            return ExampleScore(gold, gold)
        ids = readings[1].tolist()
        text = self.answer_text(ids) or ""
        task, requests = self.tasks[example.id], self.requests[example.id]
        return ExampleScore(
            score=score_document(task, requests, [text], self.measure, self.pipeline),
            log_likelihood=gold,
            truncated=len(ids) == self.max_new_tokens and not self.is_finished(ids),
            unparsed=not text.strip() or is_answer_missing(task, requests[0], self.pipeline),
            length=len(ids),
        )


def find_filter(task: Any, name: str) -> Any:
    """The lm-eval filter of a name."""
    return next(ensemble for ensemble in task._filters if ensemble.name == name)


def is_answer_missing(task: Any, request: Any, pipeline: str) -> bool:
    """Whether a filter that looks for an answer put what it says instead of one in the filtered response."""
    filters = [make_filter() for make_filter in find_filter(task, pipeline).filters]
    fallbacks = [used_filter.fallback for used_filter in filters if hasattr(used_filter, "fallback")]
    response = request.filtered_resps[pipeline]
    first = response[0] if isinstance(response, list) and response else response
    return response in fallbacks or first in fallbacks


def score_document(task: Any, requests: list[Any], responses: Sequence[Any], measure: str, pipeline: str) -> float:
    """One document's score: lm-eval's filter and `process_results` on the responses to its requests.

    Raises:
        DataError: the metric is no number per document, but something to aggregate.
    """
    for request, response in zip(requests, responses, strict=True):
        request.resps, request.filtered_resps = [response], {}
    find_filter(task, pipeline).apply(requests)
    results = task.process_results(requests[0].doc, [request.filtered_resps[pipeline] for request in requests])
    metric_value = results.get(measure)
    if not isinstance(metric_value, (int, float, np.number)):
        raise DataError(f"lm-eval's metric '{measure}' is no mean over documents; {did_you_mean(measure, results)}")
    return float(metric_value)
