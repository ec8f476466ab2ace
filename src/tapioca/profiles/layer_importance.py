"""How little a layer changes the residual stream: the one-shot criteria of the layer-dropping literature.

States are the residual stream itself: before the first layer, after each layer, and before the final norm.
All sums are in float64.
"""

from dataclasses import dataclass

import numpy as np

from tapioca.errors import NonFiniteError


@dataclass(frozen=True, eq=False)
class LayerImportance:
    """What a pass over some prompts says about each layer.

    Attributes:
        influence: (layer,), mean block influence over all prompt tokens.
        magnitude: (layer,), mean relative magnitude over all prompt tokens.
        angles: (layer + 1, layer + 1), mean angular distance between the states before layers a and b at the last
            prompt token; index `layer` stands for the state after the last layer.
    """

    influence: np.ndarray
    magnitude: np.ndarray
    angles: np.ndarray

    def __post_init__(self) -> None:
        n_layers = len(self.influence)
        if self.magnitude.shape != (n_layers,) or self.angles.shape != (n_layers + 1, n_layers + 1):
            raise ValueError(f"{n_layers} layers by influence, other arrays have another size")


def block_influence(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Block influence of ShortGPT (arXiv 2403.03853, equation 1), before the mean over tokens: 1 - cos(before, after).

    Args:
        before, after: states around a layer, (token, width).

    Returns:
        float64 of shape (token,), between 0 and 2.

    Raises:
        NonFiniteError: a state is NaN, infinite or zero.
    """
    return 1.0 - cosine(before, after)


def relative_magnitude(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Relative magnitude |f(x)| / |x + f(x)| of an update (Samragh et al., arXiv 2312.09299; a baseline in ShortGPT).

    Args:
        before, after: x and x + f(x), (token, width).

    Returns:
        float64 of shape (token,).

    Raises:
        NonFiniteError: a state is NaN, infinite, or zero after the layer.
    """
    x, y = before.astype(np.float64), after.astype(np.float64)
    with np.errstate(all="ignore"):
        return _check_finite(np.linalg.norm(y - x, axis=-1) / np.linalg.norm(y, axis=-1))


def angular_distances(states: np.ndarray) -> np.ndarray:
    """Angular distance arccos(cos) / pi between the states at all pairs of depths, d(x^l, x^(l+n)) of Gromov et al.
    (arXiv 2403.17887).

    The block of n layers that starts at layer l is at [l, l + n].

    Args:
        states: (depth, example, width), one state per example at each depth.

    Returns:
        float64 of shape (depth, depth), the mean over examples, between 0 and 1.

    Raises:
        NonFiniteError: a state is NaN, infinite or zero.
    """
    return np.stack([np.arccos(cosine(depth_states, states)).mean(axis=-1) for depth_states in states]) / np.pi


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine over the last axis, in float64 and kept within [-1, 1], which rounding may leave.

    Raises:
        NonFiniteError: a vector is NaN, infinite or zero.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return np.clip(_check_finite(cosines), -1.0, 1.0)


def _check_finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise NonFiniteError("a hidden state is NaN, infinite or zero; layers cannot be ranked on it")
    return values
