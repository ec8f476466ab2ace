"""How a set of hidden states fills space, by the field's usual measures: one number per layer.

States are arrays of shape (layer, example, width); all sums are in float64. Effective rank and intrinsic dimension
grow with the number of examples: compare only sets of equal size.
"""

import numpy as np
from scipy.linalg import svdvals
from scipy.spatial.distance import cdist
from scipy.stats import entropy

from tapioca.errors import NonFiniteError

KEPT_SHARE = 0.9
"""Share of the points, those with the smallest ratios, to which TwoNN fits its line; the paper's choice."""


def centre_states(states: np.ndarray) -> np.ndarray:
    """States less their mean over the examples, in float64; exactly zero where all are equal, which the mean alone may
    miss by rounding."""
    apart = states.astype(np.float64) - states[:, :1].astype(np.float64)
    return apart - apart.mean(axis=1, keepdims=True)


def cosine_spread(states: np.ndarray) -> np.ndarray:
    """Mean of 1 - cos over all pairs of distinct examples: 0 where all states point the same way.

    One less this is what Ethayarajh calls anisotropy (arXiv 1909.00512, section 4.1). It is computed as the variance
    of the unit vectors, summed over the width: the mean over pairs of |u - v|² / 2.

    Args:
        states: (layer, example, width), at least 2 examples.

    Returns:
        float64 of shape (layer,), between 0 and n / (n - 1).

    Raises:
        NonFiniteError: a state is zero and has no direction.
    """
    wide = states.astype(np.float64)
    norms = np.linalg.norm(wide, axis=2, keepdims=True)
    if not norms.all():
        raise NonFiniteError(f"a state after layer {int((norms == 0).any(axis=(1, 2)).argmax())} is zero: no direction")
    return (wide / norms).var(axis=1, ddof=1).sum(axis=-1)


def effective_rank(states: np.ndarray) -> np.ndarray:
    """Effective rank exp(H(p)), p the singular values over their sum (Roy and Vetterli, EUSIPCO 2007, definition 1).

    Of the states less their mean, without which the mean alone would be most of it.

    Args:
        states: (layer, example, width).

    Returns:
        float64 of shape (layer,), at most min(n - 1, width); 0 where all states are equal.
    """
    spectra = [svdvals(layer) for layer in centre_states(states)]
    return np.array([np.exp(entropy(values)) if values.any() else 0.0 for values in spectra])


def intrinsic_dimension(states: np.ndarray) -> np.ndarray:
    """Intrinsic dimension by the two nearest neighbours of each point (TwoNN; Facco et al. 2017, Scientific Reports 7).

    With r1, r2 the distances to them, log(r2 / r1) is exponential with the dimension as its rate: the slope of the
    line through the origin of -log(1 - F) over log(r2 / r1), F the empirical distribution, without its largest tenth.
    Equal states count once.

    Args:
        states: (layer, example, width).

    Returns:
        float64 of shape (layer,); 0 where fewer than 3 states are distinct.

    Raises:
        NonFiniteError: the two nearest neighbours of nearly all points are equally far, so that there is no slope.
    """
    return np.array([_two_nn_dimension(cdist(layer, layer)) for layer in states.astype(np.float64)])


def _two_nn_dimension(distances: np.ndarray) -> float:
    first = np.flatnonzero((distances == 0).argmax(axis=1) == np.arange(len(distances)))
    if len(first) < 3:
        return 0.0
    nearest = np.partition(distances[np.ix_(first, first)], (1, 2), axis=1)[:, 1:3]
    x = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))[: int(KEPT_SHARE * len(first))]
    y = -np.log1p(-np.arange(1, len(x) + 1) / len(first))
    if not x.any():
        raise NonFiniteError("all states are equally far from their two nearest neighbours: no intrinsic dimension")
    return float(x @ y / (x @ x))
