"""What a cell truly is by its labels: in distribution, distorted, misaligned or undecided (Q3)."""

from dataclasses import dataclass

import numpy as np

from tapioca.stats import percentile_interval
from tapioca.studies.cell import Cell
from tapioca.studies.parts import Truth


@dataclass(frozen=True)
class CellLabel:
    """What a cell truly is.

    Attributes:
        truth: the class.
        log_ratio: held out, of greedy's plan.
        ci95: its interval over prompts.
        ceiling: simultaneous 95 % upper bound on the held-out log ratio of every plan that drops something.
    """

    truth: Truth
    log_ratio: float
    ci95: tuple[float, float]
    ceiling: float


def label_cell(cell: Cell, ratios: np.ndarray, best: int, margin: float) -> CellLabel:
    """Label a cell.

    - in distribution: neither deviation is above the 95th percentile of its null;
    - distorted: one is, and the interval of greedy's plan's held-out log ratio lies above 0;
    - misaligned: one is, and no plan's held-out log ratio can be as large as the margin;
    - undecided: the rest.

    A changed rule that shows in no input is in distribution to it.

    Args:
        ratios: test log ratios of every plan, the full model first, (1 + draw, plan).
        best: place of greedy's plan.
        margin: the log ratio held to be nothing.
    """
    ci95, ceiling = percentile_interval(ratios[:, best]), simultaneous_upper_bound(ratios[:, 1:])
    if not (cell.deviation[:, 0] > cell.null_upper).any():
        truth: Truth = "in distribution"
    elif ci95[0] > 0:
        truth = "distorted"
    else:
        truth = "misaligned" if ceiling < margin else "undecided"
    return CellLabel(truth, float(ratios[0, best]), ci95, ceiling)


def simultaneous_upper_bound(ratios: np.ndarray) -> float:
    """95 % upper bound that holds for the largest of many log ratios, by the largest standardised error among resamples.

    Each gets a bound in units of its own standard error, so that plans which wreck the model, whose log ratios are the
    least certain, do not set the bound of the others.

    Args:
        ratios: (1 + draw, plan), those found and resampled ones.
    """
    estimates, draws = ratios[0], ratios[1:]
    standard_errors = draws.std(axis=0, ddof=1)
    standardised = np.divide(estimates - draws, standard_errors, out=np.zeros_like(draws), where=standard_errors > 0)
    return float((estimates + np.percentile(standardised.max(axis=1), 95) * standard_errors).max())
