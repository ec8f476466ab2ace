"""The two profiles of the TAPIOCA paper (arXiv 2605.14738): mean norm and mean pairwise distance per layer.

States are arrays of shape (layer, example, width): the hidden state of every example after every layer.
All sums are in float64. Distances are Euclidean, over all pairs of distinct examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from tapioca.records import ProfileKind


@dataclass(frozen=True, eq=False)
class StateGeometry:
    """What the profiles of one set of examples are made of.

    Attributes:
        norms: (layer, example), Euclidean norms of the states.
        distances: (layer, example, example), between the states; the diagonal is 0.
    """

    norms: np.ndarray
    distances: np.ndarray

    @property
    def n_examples(self) -> int:
        """How many examples there are."""
        return self.norms.shape[1]

    def select(self, layers: Iterable[int] | None = None, examples: Iterable[int] | None = None) -> StateGeometry:
        """Some of the layers, some of the examples, in the order given."""
        layer_indices = list(range(self.norms.shape[0]) if layers is None else layers)
        example_indices = list(range(self.norms.shape[1]) if examples is None else examples)
        return StateGeometry(
            norms=self.norms[np.ix_(layer_indices, example_indices)],
            distances=self.distances[np.ix_(layer_indices, example_indices, example_indices)],
        )

    def rescale(self, factor: float) -> StateGeometry:
        """That of the states times a factor."""
        return StateGeometry(norms=self.norms * factor, distances=self.distances * factor)

    def profiles(self, counts: np.ndarray | None = None) -> np.ndarray:
        """All kinds of profile, in the order of `PROFILES`.

        Args:
            counts: (draw, example), how often each example was drawn; every example once when left
                out. An example drawn twice makes no pair with itself.

        Returns:
            (kind, draw, layer), draw = 1 when `counts` is left out.
        """
        weights = np.ones((1, self.n_examples)) if counts is None else np.asarray(counts, dtype=np.float64)
        return np.stack([profile(weights) for profile in self.profile_functions.values()])

    @property
    def profile_functions(self) -> dict[ProfileKind, Callable[[np.ndarray], np.ndarray]]:
        """From counts of shape (draw, example) to profiles of shape (draw, layer), kind by kind."""
        return {kind: partial(definition.average, self) for kind, definition in PROFILES.items()}

    def per_example(self) -> np.ndarray:
        """What the profiles are the means of, (kind, layer, example)."""
        return np.stack([definition.per_example(self) for definition in PROFILES.values()])


def average_norms(geometry: StateGeometry, counts: np.ndarray) -> np.ndarray:
    """Mean norms of shape (draw, layer), from counts of shape (draw, example)."""
    return counts @ geometry.norms.T / counts.sum(1, keepdims=True)


def average_distances(geometry: StateGeometry, counts: np.ndarray) -> np.ndarray:
    """Mean distances of pairs of shape (draw, layer), from counts of shape (draw, example)."""
    pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
    sums = np.stack([((counts @ layer) * counts).sum(1) for layer in geometry.distances], axis=1)
    return sums / pairs[:, None]


@dataclass(frozen=True)
class ProfileDefinition:
    """One kind of profile.

    Attributes:
        average: the profile, (draw, layer), from counts of shape (draw, example).
        per_example: what it is the mean of, (layer, example).
    """

    average: Callable[[StateGeometry, np.ndarray], np.ndarray]
    per_example: Callable[[StateGeometry], np.ndarray]


PROFILES: dict[ProfileKind, ProfileDefinition] = {
    "norm": ProfileDefinition(average_norms, lambda geometry: geometry.norms),
    "distance": ProfileDefinition(
        average_distances, lambda geometry: geometry.distances.sum(axis=2) / (geometry.n_examples - 1)
    ),
}
"""The kinds of profile, in the order in which functions return them."""
PROFILE_KINDS = tuple(PROFILES)


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


def scale_to_unit_length(states: np.ndarray) -> np.ndarray:
    """States of shape (layer, example, width) divided by their norm, float64: their directions alone. Zeros stay."""
    norms = np.linalg.norm(states.astype(np.float64), axis=-1, keepdims=True)
    return states / np.where(norms == 0, 1.0, norms)


def resample_examples(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap counts of shape (draws, n): how often each of n examples was drawn in n draws.

    One example n times over has no pairs, and is drawn again; it happens only where n is a handful.
    """
    counts = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    while n > 1 and (is_degenerate := counts.max(axis=1) == n).any():
        counts[is_degenerate] = rng.multinomial(n, np.full(n, 1 / n), size=is_degenerate.sum())
    return counts.astype(np.float64)


def count_and_resample(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Every example once, then bootstrap counts, (1 + draws, n)."""
    return np.vstack([np.ones(n), resample_examples(n, draws, rng)])


def draw_halves(n: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Random splits of 2n examples into two sets of n: 0/1 membership of the first set, shape (draws, 2n)."""
    base = np.repeat([[1.0] * n + [0.0] * n], draws, axis=0)
    return rng.permuted(base, axis=1)
