"""The two profiles of the TAPIOCA paper (arXiv 2605.14738): mean norm and mean pairwise distance per layer.

States are arrays of shape (layer, example, width): the hidden state of every example after every layer.
All sums are in float64. Distances are Euclidean, over all pairs of distinct examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.distance import cdist

PROFILE_KINDS: tuple[Literal["norm", "distance"], ...] = ("norm", "distance")
"""The two kinds of profile, in the order in which functions return them."""


@dataclass(frozen=True, eq=False)
class StateGeometry:
    """What the profiles of one set of examples are made of.

    Attributes:
        norms: (layer, example), Euclidean norms of the states.
        distances: (layer, example, example), between the states; the diagonal is 0.
    """

    norms: np.ndarray
    distances: np.ndarray

    def select(self, layers: Iterable[int] | None = None, examples: Iterable[int] | None = None) -> StateGeometry:
        """Some of the layers, some of the examples, in the order given."""
        layer_indices = list(range(self.norms.shape[0]) if layers is None else layers)
        example_indices = list(range(self.norms.shape[1]) if examples is None else examples)
        return StateGeometry(
            norms=self.norms[np.ix_(layer_indices, example_indices)],
            distances=self.distances[np.ix_(layer_indices, example_indices, example_indices)],
        )

    def profiles(self, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Norm and pairwise-distance profiles.

        Args:
            counts: (draw, example), how often each example was drawn; every example once when left
                out. An example drawn twice makes no pair with itself.

        Returns:
            Two arrays of shape (draw, layer), draw = 1 when `counts` is left out.
        """
        weights = np.ones((1, self.norms.shape[1])) if counts is None else np.asarray(counts, dtype=np.float64)
        return self.norm_profile(weights), self.distance_profile(weights)

    @property
    def profile_functions(self) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        """From counts to the profiles, in the order of `PROFILE_KINDS`."""
        return self.norm_profile, self.distance_profile

    def norm_profile(self, counts: np.ndarray) -> np.ndarray:
        """Norm profiles of shape (draw, layer), from counts of shape (draw, example)."""
        return counts @ self.norms.T / counts.sum(1, keepdims=True)

    def distance_profile(self, counts: np.ndarray) -> np.ndarray:
        """Pairwise-distance profiles of shape (draw, layer), from counts of shape (draw, example)."""
        pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
        sums = np.stack([((counts @ layer) * counts).sum(1) for layer in self.distances], axis=1)
        return sums / pairs[:, None]

    def per_example(self) -> tuple[np.ndarray, np.ndarray]:
        """What the profiles are the means of, (layer, example): each norm, and each mean distance to the others."""
        return self.norms, self.distances.sum(axis=2) / (self.norms.shape[1] - 1)


def state_geometry(states: np.ndarray) -> StateGeometry:
    """Norms and distances of states of shape (layer, example, width).

    Raises:
        ValueError: fewer than two examples.
    """
    if states.shape[1] < 2:
        raise ValueError(f"a pairwise distance needs at least 2 examples, got {states.shape[1]}")
    wide = states.astype(np.float64)
    return StateGeometry(
        norms=np.linalg.norm(wide, axis=2), distances=np.stack([cdist(layer, layer) for layer in wide])
    )


def resample_examples(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap counts of shape (draws, n): how often each of n examples was drawn in n draws.

    One example n times over has no pairs, and is drawn again; it happens only where n is a handful.
    """
    counts = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    while n > 1 and (is_degenerate := counts.max(axis=1) == n).any():
        counts[is_degenerate] = rng.multinomial(n, np.full(n, 1 / n), size=is_degenerate.sum())
    return counts.astype(np.float64)


def draw_halves(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Random splits of 2n examples into two sets of n: 0/1 membership of the first set, shape (draws, 2n)."""
    base = np.repeat([[1.0] * n + [0.0] * n], draws, axis=0)
    return rng.permuted(base, axis=1)
