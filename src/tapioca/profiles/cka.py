"""How alike two representations are: of the same examples, and of different ones.

*Same examples* (the full model and a plan, or two layers): linear CKA, which compares which examples lie near which.
*Different examples* (ID and OOD) have no rows in common, so that CKA between them has no meaning. What can be compared
is which directions of the residual stream they use: the alignment of their covariances, within one model.

States are arrays of shape (layer, example, width); all sums are in float64. Both numbers are biased towards 1 where
there are fewer examples than dimensions, CKA, or away from it, covariances: hold them against two halves of one sample.
"""

import numpy as np

from tapioca.profiles.spread import centre_states


def linear_cka(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Linear CKA |YᵀX|² / (|XᵀX| |YᵀY|) in Frobenius norms, X and Y less their means (Kornblith et al., arXiv 1905.00414,
    section 3.3).

    Args:
        first, second: states of the same examples in the same order, (layer, example, width); widths may differ.

    Returns:
        float64 of shape (layer,), between 0 and 1; 0 where the states of one side are all equal.

    Raises:
        ValueError: layers or examples differ in number.
    """
    if first.shape[:2] != second.shape[:2]:
        raise ValueError(f"CKA compares states of the same layers and examples, got {first.shape} and {second.shape}")
    x, y = (_scalar_products(*[centre_states(states)] * 2) for states in (first, second))
    return _cosine((x * y).sum(axis=(1, 2)), x, y)


def covariance_alignment(states: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Cosine tr(CD) / (|C| |D|) between the covariances C, D of two sets of states (1 less the correlation matrix
    distance of Herdin et al., VTC 2005).

    Args:
        states, reference: of any examples of one model, (layer, example, width), of equal width.

    Returns:
        float64 of shape (layer,), between 0 and 1: 1 where both spread over the same directions in the same
        proportions, 0 where they share none or the states of one side are all equal.

    Raises:
        ValueError: layers or widths differ in number.
    """
    if states.shape[::2] != reference.shape[::2]:
        raise ValueError(f"covariances compare states of one model's layers, got {states.shape} and {reference.shape}")
    x, y = centre_states(states), centre_states(reference)
    return _cosine((_scalar_products(x, y) ** 2).sum(axis=(1, 2)), _scalar_products(x, x), _scalar_products(y, y))


def _scalar_products(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Scalar products of all examples of one side with all of the other, (layer, example, example)."""
    return first @ second.swapaxes(1, 2)


def _cosine(product: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    sizes = np.linalg.norm(x, axis=(1, 2)) * np.linalg.norm(y, axis=(1, 2))
    return np.divide(product, sizes, out=np.zeros_like(product), where=sizes > 0)
