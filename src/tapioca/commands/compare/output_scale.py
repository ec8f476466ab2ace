"""The one number that all outputs of the full model are best multiplied by, fitted on OOD search labels."""

import numpy as np

from tapioca.errors import UsageError
from tapioca.plan import OutputSum, Plan
from tapioca.session.context import AnyRun
from tapioca.tasks.base import Task
from tapioca.tasks.choice import Label
from tapioca.tasks.classify import Classify
from tapioca.tasks.regress import Regression

GRID = tuple(2.0 ** (step / 4) for step in range(-8, 9))
"""What logits are multiplied by, from a quarter to four times: temperatures from 4 to a quarter, 19 % apart."""


def fit_output_scale(job: AnyRun) -> float:
    """The number of least squares for predictions; for logits that of `GRID` with the likeliest gold answers, the inverse of
    a temperature.

    Raises:
        UsageError: a number changes no answer, or none is best.
    """
    task = job.search["ood"]
    if reason := explain_no_scale(task):
        raise UsageError(reason)
    if not isinstance(task, Regression):
        likelihoods = _measure_likelihoods(job, task, GRID)
        return GRID[int(likelihoods.argmax())]
    at_0, at_1, at_2 = -_measure_likelihoods(job, task, (0.0, 1.0, 2.0))
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


def _measure_likelihoods(job: AnyRun, task: Task, numbers: tuple[float, ...]) -> np.ndarray:
    """Mean log-likelihood of the gold answers (minus the error of numbers) by what outputs are multiplied by."""
    full = Plan.full(job.n_layers)
    sums = [OutputSum.times(number, full) for number in numbers]
    scores = job.evaluate(task, sums, f"outputs times {len(numbers)} numbers on OOD search data")
    return np.average(scores.log_likelihoods, axis=1, weights=task.weights)
