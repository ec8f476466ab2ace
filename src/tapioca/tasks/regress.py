"""In-context regression: read pairs (x, y) as numbers, predict the next y."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tapioca.errors import RowError
from tapioca.records import Example, ExampleScore, Metric, Request
from tapioca.tasks.base import Task, digest_rows, read_field

SQUARED_ERROR_METRIC = Metric(name="squared error", kind="error")
BURN_IN = 5
FLOAT32_MAX = float(np.finfo(np.float32).max)


def mark_error(predictions: np.ndarray, example: Example) -> float:
    """Minus the mean squared error of the scored points."""
    return -float(np.mean((predictions - np.array(example.rows[0].targets)) ** 2))


@dataclass(frozen=True, eq=False)
class Regression(Task):
    """One prompt x1 y1 ... xn per example; the score is minus the mean squared error of the scored points.

    Every point is a query for the points before it. The first `BURN_IN` are not scored, since no
    context can tell them yet; where the lab says so, no point is but the last.

    Attributes:
        mark: makes a score of the predictions of the scored points; named by the metric.
    """

    metric: Metric = SQUARED_ERROR_METRIC
    mark: Callable[[np.ndarray, Example], float] = mark_error

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        return 2 * max(len(row.targets) for row in rows) - 1

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        outputs = logits[:, :, 0].cpu().double().numpy()
        return [output[::-2][: len(row.targets)][::-1] for output, row in zip(outputs, rows, strict=True)]

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        scores = []
        for outputs, example in zip(logits[:, :, 0], examples, strict=True):
            targets = torch.tensor(example.rows[0].targets, dtype=outputs.dtype, device=outputs.device)
            scores.append(-((outputs.flip(0)[::2][: len(targets)].flip(0) - targets) ** 2).mean())
        return torch.stack(scores)

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        score = self.mark(readings[0], example)
        return ExampleScore(score, score)

    @property
    def baseline_score(self) -> float:
        """Score of always answering the mean of all scored targets of this data set."""
        targets = np.concatenate([example.rows[0].targets for example in self.examples])
        return -float(np.var(targets))


def prompt_example(fields: Mapping[str, Any], where: str, burn_in: int = BURN_IN) -> Example:
    """An example from a row with number lists `x` and `y`, and `targets` where the answers are not the y read; the first
    `burn_in` points are not scored.

    Raises:
        RowError: the lists are missing, of different lengths, too short, or hold anything but finite numbers.
    """
    x, y = (_numbers(fields, name, where) for name in ("x", "y"))
    targets = y if fields.get("targets") is None else _numbers(fields, "targets", where)
    if not len(x) == len(y) == len(targets):
        raise RowError(
            f"{where}: x, y and targets must be as long as each other, got {len(x)}, {len(y)} and {len(targets)}",
            "with lists of different lengths",
        )
    if len(x) <= burn_in:
        raise RowError(
            f"{where}: {len(x)} points; at least {burn_in + 1} are needed, the first {burn_in} are not scored",
            "with too few points",
        )
    inputs = interleave(x, y)
    rows = (Request(inputs=inputs, targets=tuple(targets[burn_in:].tolist())),)
    content = digest_rows(rows)
    return Example(
        id=read_field(fields, "id", content),
        group=read_field(fields, "group", content),
        rows=rows,
        prompt=inputs,
        content=content,
        text=" ".join(f"({a:.2f}, {b:.2f})" for a, b in zip(x[:-1], y[:-1], strict=True)) + f" ({x[-1]:.2f}, ?)",
    )


def _numbers(fields: Mapping[str, Any], name: str, where: str) -> np.ndarray:
    """A field as float64 numbers that are finite in float32 too, in which the model reads them."""
    numbers = fields.get(name)
    if not isinstance(numbers, list) or not all(
        isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers
    ):
        raise RowError(
            f"{where}: field '{name}' must be a list of numbers, got {numbers!r:.60}", f"without numbers in '{name}'"
        )
    if not all(abs(number) < FLOAT32_MAX for number in numbers):
        raise RowError(
            f"{where}: field '{name}' holds a number that is not finite in float32", "with a number that is not finite"
        )
    return np.array(numbers, dtype=np.float64)


def interleave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tokens x1 y1 ... xn of one or many prompts: float32 of shape (..., 2 * points - 1, 2).

    Channel 0 is the number, channel 1 is 1 for a y. The last y is the answer and is left out.
    """
    values = np.zeros((*x.shape[:-1], 2 * x.shape[-1] - 1, 2), dtype=np.float32)
    values[..., 0::2, 0] = x
    values[..., 1::2, 0] = y[..., :-1]
    values[..., 1::2, 1] = 1.0
    return values
