"""What each update adds to the residual stream: its length, its angle to the stream, its share of the final state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapioca.errors import NonFiniteError
from tapioca.plan import BranchName, Plan
from tapioca.profiles.deviation import RESAMPLES, recentred_interval
from tapioca.profiles.profiles import resample_examples
from tapioca.records import Estimate, Update, Updates

UpdatePlace = tuple[int, BranchName | None]
"""The layer, and the branch where an update is not the whole layer's."""


@dataclass(frozen=True, eq=False)
class StreamUpdates:
    """The updates of a residual stream, (update, example) in the order they are added.

    Attributes:
        norms: Euclidean norms.
        angles: to the stream before the update, over pi; 0.5, a right angle, where either is zero.
        shares: of the final state.
        first: share of the first state, (example,); with the others it sums to 1.
    """

    norms: np.ndarray
    angles: np.ndarray
    shares: np.ndarray
    first: np.ndarray


def updates_of_stream(stream: np.ndarray) -> StreamUpdates:
    """The updates of a stream h_0, h_1, ..., h_n, u_i = h_i - h_(i-1).

    The share of an update is <u_i, h_n> / |h_n|², how far it goes along the final state (what direct logit attribution
    does with one token's direction); negative where it goes against it.

    Args:
        stream: (update + 1, example, width), from the state before the first layer to the last before the final norm.

    Raises:
        NonFiniteError: a final state is zero, so that nothing has a share of it.
    """
    wide = stream.astype(np.float64)
    updates, final = np.diff(wide, axis=0), wide[-1]
    squares = (final**2).sum(axis=-1)
    if not squares.all():
        raise NonFiniteError("a state after the last layer is zero: updates have no share of it")
    return StreamUpdates(
        norms=np.linalg.norm(updates, axis=-1),
        angles=_angles(updates, wide[:-1]),
        shares=(updates * final).sum(axis=-1) / squares,
        first=(wide[0] * final).sum(axis=-1) / squares,
    )


def join_updates(parts: Sequence[StreamUpdates], order: Sequence[int]) -> StreamUpdates:
    """Parts of a set of examples as one, each example put where `order` says it belongs."""
    back = np.argsort(order)
    fields = ("norms", "angles", "shares", "first")
    return StreamUpdates(
        **{name: np.concatenate([getattr(p, name) for p in parts], axis=-1)[..., back] for name in fields}
    )


def summarise_updates(stream_steps: StreamUpdates, places: Sequence[UpdatePlace], plan: Plan, seed: int = 0) -> Updates:
    """Means over the examples, with percentile intervals from resampling them."""
    n = len(stream_steps.first)
    counts = resample_examples(n, RESAMPLES, np.random.default_rng(seed))

    def estimate(values: np.ndarray) -> Estimate:
        return Estimate(value=float(values.mean()), ci95=recentred_interval(float(values.mean()), counts @ values / n))

    rows = zip(places, stream_steps.norms, stream_steps.angles, stream_steps.shares, strict=True)
    updates = (
        Update(layer=layer, branch=branch, norm=estimate(norm), angle=estimate(angle), share=estimate(share))
        for (layer, branch), norm, angle, share in rows
    )
    return Updates(plan=plan, n=n, first_share=estimate(stream_steps.first), updates=tuple(updates))


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles over pi, from unit vectors' sum and difference, which unlike the arc cosine is exact near 0 and 1."""
    a, b = (_unit(vectors) for vectors in (first, second))
    angle_over_pi = 2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1)) / np.pi
    return np.where(a.any(axis=-1) & b.any(axis=-1), angle_over_pi, 0.5)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
