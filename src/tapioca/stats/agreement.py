"""How far two sets of answers to the same examples agree, for many plans at once."""

import numpy as np

FLOOR = 1e-12
"""Least variance, as a share of their mean square, with which numbers are held to vary; below it is rounding."""


def measure_kappa(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cohen's kappa of two answers each (1960): how much more often they are the same than by chance.

    Args:
        first, second: which answer was taken, int64 of shape (plan, example).
        weights: of the examples, (example,).

    Returns:
        float64 of shape (plan,): 1 where all are the same, 0 where they are as by chance, and where every answer is the same one.
    """
    shares = weights / weights.sum()
    observed, labels = (first == second) @ shares, np.unique([first, second])
    expected = sum(((first == label) @ shares) * ((second == label) @ shares) for label in labels)
    room = 1.0 - np.asarray(expected, dtype=np.float64)
    return np.divide(observed - expected, room, out=np.zeros_like(room), where=room > 1e-12)


def measure_concordance(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lin's concordance of two numbers each (1989, Biometrics 45), what kappa is for labels: how much nearer they are to each
    other than numbers of other examples are.

    Args:
        first, second: (plan, example).
        weights: of the examples, (example,).

    Returns:
        float64 of shape (plan,): 1 where all are the same, 0 where they are unrelated, and where all numbers are the same one.
    """
    shares = weights / weights.sum()
    means = first @ shares, second @ shares
    spread = ((first - means[0][:, None]) ** 2 + (second - means[1][:, None]) ** 2) @ shares + (
        means[0] - means[1]
    ) ** 2
    nearness = spread - ((first - second) ** 2) @ shares
    varies = spread > FLOOR * ((first**2 + second**2) @ shares)
    return np.divide(nearness, spread, out=np.zeros_like(spread), where=varies)


def measure_relative_error(values: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared difference of numbers from others, over the variance of the others: float64 of shape (plan,).

    Args:
        values: (plan, example).
        reference: (1, example).
        weights: of the examples, (example,).
    """
    shares = weights / weights.sum()
    variance = ((reference - (reference @ shares)[:, None]) ** 2) @ shares
    least = FLOOR * ((reference**2) @ shares) + np.finfo(np.float64).tiny
    return np.asarray((((values - reference) ** 2) @ shares) / np.maximum(variance, least))
