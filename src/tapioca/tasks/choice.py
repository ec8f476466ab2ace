"""Multiple choice: by the likelihood of each written-out choice, or of one label token each."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from tapioca.records import Example, ExampleScore, Metric, Request
from tapioca.tasks.base import Task, compute_log_likelihoods

ACCURACY = Metric(name="accuracy", kind="accuracy")
GOLD_LOSS = Metric(name="gold answer's negative log-likelihood", kind="error")

TIE_TOLERANCE = 1e-5
"""Nats by which log-likelihoods may differ with the batch they are computed in."""


def score_choice(values: np.ndarray, example: Example, metric: Metric) -> ExampleScore:
    """Right if the first maximum is a gold value; NaN stays NaN, so that it is never ranked.

    The likelihood is that of the likeliest gold answer.
    """
    golds = list(example.golds)
    gold, wrong = float(values[golds].max()), np.delete(values, golds)
    if not np.isfinite(values).all():
        return ExampleScore(float("nan"), gold)
    predicted = int(values.argmax())
    if metric.kind == "error":
        return ExampleScore(gold, gold, predicted=predicted)
    return ExampleScore(float(predicted in golds), gold, tied=is_tied([gold, *wrong]), predicted=predicted)


Mark = Callable[[np.ndarray, Example, Metric], ExampleScore]
"""Marks an example by the log-likelihoods of its choices; named by the metric, which stands in the key of what it gave."""


@dataclass(frozen=True, eq=False)
class OneOfSeveral(Task):
    """What has one right answer among several, and may be scored by how likely that is.

    Attributes:
        mark: makes a score of the choices' log-likelihoods.
    """

    mark: Mark = score_choice

    @abstractmethod
    def compare(self, example: Example, readings: Sequence[np.ndarray]) -> np.ndarray:
        """The log-likelihood of each choice of an example, as they are compared: float64 of shape (choice,)."""

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        return self.mark(self.compare(example, readings), example, self.metric)

    @property
    def companion(self) -> Self | None:
        """Accuracy, where the likelihood is the score."""
        return replace(self, metric=ACCURACY) if self.metric == GOLD_LOSS else None


@dataclass(frozen=True, eq=False)
class Choice(OneOfSeveral):
    """One row per choice; the answer is the choice of highest log-likelihood per unit of its length.

    With `metric` GOLD_LOSS the score is the gold choice's own normalised log-likelihood.
    """

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return [np.array([float(tokens.sum())]) for tokens in compute_log_likelihoods(logits, rows)]

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        rows = [row for example in examples for row in example.rows]
        tokens = compute_log_likelihoods(logits, rows)
        values = iter([row_tokens.sum() / row.normalizer for row_tokens, row in zip(tokens, rows, strict=True)])
        return take_gold([torch.stack([next(values) for _ in example.rows]) for example in examples], examples)

    def compare(self, example: Example, readings: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([reading[0] / row.normalizer for reading, row in zip(readings, example.rows, strict=True)])


@dataclass(frozen=True, eq=False)
class Label(OneOfSeveral):
    """One row per example; the answer is the likeliest of a few label tokens after the prompt.

    A row's targets are the token ids of the labels, in order.
    """

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        return 1

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        last = logits[:, -1].log_softmax(-1).cpu().double().numpy()
        return [values[np.array(row.targets, dtype=int)] for values, row in zip(last, rows, strict=True)]

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        last = logits[:, -1].log_softmax(-1)
        values = [row[list(example.rows[0].targets)] for row, example in zip(last, examples, strict=True)]
        return take_gold(values, examples)

    def compare(self, example: Example, readings: Sequence[np.ndarray]) -> np.ndarray:
        return readings[0]


def take_gold(values: Sequence[torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
    """The likeliest gold answer of each example, (example,), from the log-likelihoods of its choices."""
    return torch.stack([row[list(example.golds)].max() for row, example in zip(values, examples, strict=True)])


def is_tied(values: Sequence[float] | np.ndarray) -> bool:
    """Whether the two highest log-likelihoods are equal but for the rounding of float32, which then decides."""
    second, first = np.sort(values)[-2:]
    return bool(first - second < TIE_TOLERANCE)
