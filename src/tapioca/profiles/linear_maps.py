"""How well one linear map does what a block of neighbouring layers does."""

import numpy as np

RIDGE = 1e-2
"""Strength of the ridge, in units of the mean square of a value of the states."""


def measure_map_residuals(states: np.ndarray, seed: int = 0) -> np.ndarray:
    """What a linear map leaves unexplained of the states behind a block of layers, from those in front of it.

    For every block one map with an offset is fitted by ridge regression on a random half of the examples and judged on the
    other half.

    Args:
        states: of examples at some tokens, (depth, example, token, width), from in front of the first layer on; the tokens
            of an example are never split.
        seed: of the halves.

    Returns:
        float64 of shape (depth, depth); at [i, i + n] for layers i to i + n - 1 the squared residuals over the squared
        distances from the mean, 0 for a map that loses nothing and about 1 for one that says nothing. 0 elsewhere.
    """
    n_depths, n_examples, _, width = states.shape
    order = np.random.default_rng(seed).permutation(n_examples)
    fitted, judged = (
        states[:, half].reshape(n_depths, -1, width).astype(np.float64)
        for half in (order[: n_examples // 2], order[n_examples // 2 :])
    )
    means = fitted.mean(axis=1, keepdims=True)
    fitted, judged = fitted - means, judged - means
    residuals = np.zeros((n_depths, n_depths))
    for start in range(n_depths - 1):
        behind = range(start + 1, n_depths)
        maps = _fit(fitted[start], np.concatenate(fitted[start + 1 :], axis=1))
        predicted = np.split(judged[start] @ maps, len(behind), axis=1)
        for end, prediction in zip(behind, predicted, strict=True):
            spread = float(((judged[end] - judged[end].mean(axis=0)) ** 2).sum())
            residuals[start, end] = ((judged[end] - prediction) ** 2).sum() / spread if spread else 0.0
    return residuals


def _fit(inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Ridge regression of centred arrays, (row, width) and (row, output): maps of shape (width, output)."""
    from sklearn.linear_model import Ridge

    strength = RIDGE * float((inputs**2).sum()) / inputs.shape[1]
    return np.asarray(Ridge(alpha=max(strength, 1e-12), fit_intercept=False).fit(inputs, outputs).coef_).T
