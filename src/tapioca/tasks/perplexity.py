"""Running text: mean log-likelihood per token over windows that cover every token once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tapioca.records import Answer, Example, Metric, Row
from tapioca.tasks.base import Task, log_likelihoods

LOSS = Metric(name="loss per token (nats)", kind="error")


@dataclass(frozen=True, eq=False)
class Perplexity(Task):
    """One window of text per example, weighted by its tokens; perplexity is exp of the mean loss."""

    metric: Metric = LOSS

    def keep(self, rows: Sequence[Row]) -> int:
        return max(len(row.targets) for row in rows)

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        return [np.array([float(tokens.cpu().double().mean())]) for tokens in log_likelihoods(logits, rows)]

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        return Answer(float(readings[0][0]), float(readings[0][0]))


def windows(ids: Sequence[int], first: int, size: int) -> list[Row]:
    """Cut a document into rows that predict every token exactly once.

    Args:
        ids: token ids of the document, all of them to be predicted.
        first: the token the first one is predicted from (BOS).
        size: most tokens a row may read.
    """
    whole = [first, *ids]
    cuts = range(0, len(ids), size)
    return [Row(inputs=tuple(whole[at : min(at + size, len(ids))]), targets=tuple(ids[at : at + size])) for at in cuts]
