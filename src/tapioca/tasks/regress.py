"""In-context regression: read pairs (x, y) as numbers, predict the next y."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tapioca.errors import DataError
from tapioca.records import Answer, Example, Metric, Row
from tapioca.tasks.base import Task, field_or, rows_digest

SQUARED_ERROR = Metric(name="squared error", kind="error")
BURN_IN = 5


@dataclass(frozen=True, eq=False)
class Regression(Task):
    """One prompt x1 y1 ... xn per example; the score is minus the mean squared error of the scored points.

    Every point is a query for the points before it. The first `BURN_IN` are not scored, since no
    context can tell them yet.
    """

    metric: Metric = SQUARED_ERROR

    def keep(self, rows: Sequence[Row]) -> int:
        return 2 * max(len(row.targets) for row in rows) - 1

    def read(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[np.ndarray]:
        outputs = logits[:, :, 0].double().cpu().numpy()
        return [output[::-2][: len(row.targets)][::-1] for output, row in zip(outputs, rows, strict=True)]

    def mark(self, example: Example, readings: Sequence[np.ndarray]) -> Answer:
        score = -float(np.mean((readings[0] - np.array(example.rows[0].targets)) ** 2))
        return Answer(score, score)

    @property
    def constant(self) -> float:
        """Score of always answering the mean of all scored targets of this data set."""
        targets = np.concatenate([example.rows[0].targets for example in self.examples])
        return -float(np.var(targets))


def prompt_example(fields: Mapping[str, Any], where: str) -> Example:
    """An example from a row with number lists `x` and `y`, and `targets` where the answers are not the y read.

    Raises:
        DataError: the lists are missing, of different lengths, too short, or hold anything but finite numbers.
    """
    try:
        x = np.asarray(fields["x"], dtype=np.float64)
        y = np.asarray(fields["y"], dtype=np.float64)
        targets = np.asarray(fields.get("targets") or fields["y"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: expected lists of numbers x and y, could not read {error}") from error
    if not x.ndim == y.ndim == targets.ndim == 1 or not len(x) == len(y) == len(targets):
        raise DataError(
            f"{where}: x, y and targets must be lists of one length, got {np.shape(x)}, {np.shape(y)}, {np.shape(targets)}"
        )
    if len(x) <= BURN_IN:
        raise DataError(
            f"{where}: {len(x)} points; at least {BURN_IN + 1} are needed, the first {BURN_IN} are not scored"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(targets).all()):
        raise DataError(f"{where}: x, y and targets must be finite numbers")
    inputs = interleave(x, y)
    rows = (Row(inputs=inputs, targets=tuple(targets[BURN_IN:].tolist())),)
    content = rows_digest(rows)
    return Example(
        id=field_or(fields, "id", content),
        group=field_or(fields, "group", content),
        rows=rows,
        prompt=inputs,
        content=content,
        text=" ".join(f"({a:.2f}, {b:.2f})" for a, b in zip(x[:-1], y[:-1], strict=True)) + f" ({x[-1]:.2f}, ?)",
    )


def interleave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tokens x1 y1 ... xn of one or many prompts: float32 of shape (..., 2 * points - 1, 2).

    Channel 0 is the number, channel 1 is 1 for a y. The last y is the answer and is left out.
    """
    values = np.zeros((*x.shape[:-1], 2 * x.shape[-1] - 1, 2), dtype=np.float32)
    values[..., 0::2, 0] = x
    values[..., 1::2, 0] = y[..., :-1]
    values[..., 1::2, 1] = 1.0
    return values
