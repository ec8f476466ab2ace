"""Running text: mean log-likelihood per token over windows that cover every token once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tapioca.records import Example, ExampleScore, Metric, Request
from tapioca.tasks.base import Task, mean_log_likelihoods, mean_row_log_likelihoods

LOSS = Metric(name="loss per token (nats)", kind="error")


@dataclass(frozen=True, eq=False)
class Perplexity(Task):
    """One window of text per example, weighted by its tokens; perplexity is exp of the mean loss."""

    metric: Metric = LOSS

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return mean_log_likelihoods(logits, rows)

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        return mean_row_log_likelihoods(logits, examples)

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        return ExampleScore(float(readings[0][0]), float(readings[0][0]))


def cut_windows(ids: Sequence[int], first: int, size: int) -> list[Request]:
    """Cut a document into rows that predict every token exactly once.

    Args:
        ids: token ids of the document, all of them to be predicted.
        first: the token the first one is predicted from (BOS).
        size: most tokens a row may read.
    """
    tokens = [first, *ids]
    return [
        Request(inputs=tuple(tokens[start : min(start + size, len(ids))]), targets=tuple(ids[start : start + size]))
        for start in range(0, len(ids), size)
    ]
