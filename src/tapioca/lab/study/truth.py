"""What a cell truly is, told with its labels: in distribution, distorted, misaligned or undecided (Q3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tapioca.lab.study.cell import Cell
from tapioca.records import Truth
from tapioca.stats import resampled_interval


@dataclass(frozen=True)
class Told:
    """What a cell truly is.

    Attributes:
        truth: the class.
        gain: held-out gain of greedy's plan.
        ci95: its interval over prompts.
        ceiling: simultaneous 95 % upper bound on the held-out gain of every plan that drops something.
    """

    truth: Truth
    gain: float
    ci95: tuple[float, float]
    ceiling: float


def tell(cell: Cell, rows: np.ndarray, best: int, margin: float) -> Told:
    """Class of a cell.

    - in distribution: neither deviation is above the 95th percentile of its null;
    - distorted: one is, and the interval of greedy's plan's held-out gain lies above 0;
    - misaligned: one is, and no plan's held-out gain can be as large as the margin;
    - undecided: the rest.

    A changed rule that shows in no input is in distribution to it.

    Args:
        cell: its geometry.
        rows: test gains of every plan, the full model first, (1 + draw, plan).
        best: place of greedy's plan.
        margin: the gain held to be nothing.
    """
    ci95, ceiling = resampled_interval(rows[:, best]), simultaneous(rows[:, 1:])
    if not (cell.deviation[:, 0] > cell.null_upper).any():
        truth: Truth = "in distribution"
    elif ci95[0] > 0:
        truth = "distorted"
    else:
        truth = "misaligned" if ceiling < margin else "undecided"
    return Told(truth, float(rows[0, best]), ci95, ceiling)


def simultaneous(rows: np.ndarray) -> float:
    """95 % upper bound that holds for the largest of many gains, by the largest standardised error among resamples.

    Each gain gets a bound in units of its own standard error, so that plans which wreck the model, whose gains are the
    least certain, do not set the bound of the others.

    Args:
        rows: (1 + draw, plan), the gains found and resampled ones.
    """
    found, draws = rows[0], rows[1:]
    errors = draws.std(axis=0, ddof=1)
    off = np.divide(found - draws, errors, out=np.zeros_like(draws), where=errors > 0)
    return float((found + np.percentile(off.max(axis=1), 95) * errors).max())
