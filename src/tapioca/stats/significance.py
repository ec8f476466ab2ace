"""Tests, a rank correlation, and Holm's correction for many tests at once."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation over the last axis, ties at their mean rank; 0 where one side is constant.

    It is rounded to 12 digits, so that equal correlations are equal numbers: tests count how many are as large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy_stats.ConstantInputWarning)
        statistic = scipy_stats.spearmanrho(first, second, axis=-1).statistic
    return np.round(np.nan_to_num(statistic), 12) + 0.0  # no -0.0


def share_as_strong(observed: float, peers: Sequence[float]) -> float | None:
    """Share of values that have the sign of `observed` and are at least as large, it counted among them: (b + 1) /
    (m + 1); None where there are no peers."""
    sign = -1.0 if observed < 0 else 1.0
    return (sum(sign * peer >= abs(observed) for peer in peers) + 1) / (len(peers) + 1) if peers else None


def correct_holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for being many by Holm's step-down method (1979), in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()
