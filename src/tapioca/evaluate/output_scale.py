"""The one number that all outputs of the full model are best multiplied by, fitted to the answers of a task."""

from collections.abc import Callable

import numpy as np

from tapioca.errors import UsageError
from tapioca.plan import OutputSum, Plan
from tapioca.records import Scores
from tapioca.tasks.base import Task
from tapioca.tasks.choice import Label
from tapioca.tasks.classify import Classify
from tapioca.tasks.regress import Regression

GRID = tuple(2.0 ** (step / 4) for step in range(-8, 9))
"""What logits are multiplied by, from a quarter to four times: temperatures from 4 to a quarter, 19 % apart."""


ScoreSums = Callable[[list[OutputSum]], Scores]
"""Scores sums of outputs on a task."""


def fit_output_scale(task: Task, n_layers: int, score_sums: ScoreSums) -> float:
    """The number of least squares for predictions; for logits that of `GRID` with the likeliest gold answers, the inverse of
    a temperature.

    Args:
        task: whose answers it is fitted to.
        n_layers: of the model.
        score_sums: on that task.

    Raises:
        UsageError: a number changes no answer, or none is best.
    """

    def measure_likelihoods(numbers: tuple[float, ...]) -> np.ndarray:
        sums = [OutputSum.times(number, Plan.full(n_layers)) for number in numbers]
        return np.average(score_sums(sums).log_likelihoods, axis=1, weights=task.weights)

    if reason := explain_no_scale(task):
        raise UsageError(reason)
    if not isinstance(task, Regression):
        likelihoods = measure_likelihoods(GRID)
        return GRID[int(likelihoods.argmax())]
    at_0, at_1, at_2 = -measure_likelihoods((0.0, 1.0, 2.0))
    curvature = at_0 - 2 * at_1 + at_2  # the mean squared error is a parabola in the number
    if curvature <= 0:
        raise UsageError("all predictions on OOD search data are 0, so that no number is best for them")
    return float(1 + (at_0 - at_2) / (2 * curvature))


def explain_no_scale(task: Task) -> str:
    """Why one number for all outputs cannot change an answer to a task; empty where it can, as among choices of several
    tokens, each of which is normalised anew."""
    if task.metric.kind == "error" or not (task.max_new_tokens or isinstance(task, (Label, Classify))):
        return ""
    what = "tokens that are written" if task.max_new_tokens else "labels"
    return f"logits times a number keep the order of {what}, so that no answer changes"
