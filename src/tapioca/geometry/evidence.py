"""What unlabelled inputs say about a shift: a dozen numbers on scales that all models share, for a judge to weigh.

All compare OOD with ID states under the full model, as log ratios, shares or differences of cosines: none changes when
all states are multiplied by one number, and none grows with the number of layers or the width.
"""

from __future__ import annotations

import numpy as np

from tapioca.geometry.alignment import signed
from tapioca.geometry.cka import covariance_alignment
from tapioca.geometry.nulls import deviating, split_halves
from tapioca.geometry.profiles import KINDS, shape
from tapioca.geometry.spread import cosine_spread, effective_rank, intrinsic_dimension

EVIDENCE: tuple[str, ...] = (
    "norm_excess",
    "distance_excess",
    "norm_shift",
    "distance_shift",
    "norm_slope",
    "distance_slope",
    "norm_before",
    "distance_before",
    "spread_shift",
    "rank_shift",
    "dimension_shift",
    "alignment_shift",
    "alignment_last",
)
"""The names, in the order in which a judge reads them; defined under `evidence`."""

NULL_DRAWS = 200
LIMIT = 5.0
"""Largest |log ratio|, a factor of 148: the ratio to a distance of 0, of prompts that end alike, says no more than that."""

LEAST = 1e-4
"""Deviations below it, 0.01 %, are none: rounding makes as much."""


def evidence(seen: np.ndarray, reference: np.ndarray, other: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Say in numbers how OOD states differ from ID states; no answers are needed.

    With s_l the natural log ratio of the profile of `seen` to that of `reference` after layer l, and s_in before the
    first layer, for norms and for pairwise distances alike:

    - `*_excess`: log10 of the deviation, the mean of |s_l|, over the 95th percentile of its null, two halves of
      `reference` and `other` together. Above 0 the deviation is above its null.
    - `*_shift`: mean of s_l; above 0 where OOD states are longer, or further apart.
    - `*_slope`: slope of s_l over depth by least squares, depth 0 after the first layer and 1 after the last.
    - `*_before`: |s_in| / (|s_in| + mean of |s_l|): 0 where the layers make all of the deviation, a half where they
      leave it as it came, 1 where they take all of it away; 0 where there is none.

    And as means over the layers:

    - `spread_shift`, `rank_shift`, `dimension_shift`: log ratio of cosine spread, effective rank and intrinsic
      dimension (geometry/spread.py).
    - `alignment_shift`: the covariances' alignment of `seen` with `reference` less that of `other` with `reference`;
      below 0 where OOD states spread over other directions than ID states do. `alignment_last`: the same after the
      last layer alone.

    Args:
        seen: OOD states under the full model, before the first layer and after each (`observe.stream_states`), of
            shape (layer + 1, example, width).
        reference, other: two disjoint sets of ID states of the same shape.
        seed: of the null.

    Returns:
        Finite numbers by the names in `EVIDENCE`. Log ratios are cut off at `LIMIT`.

    Raises:
        ValueError: the three differ in shape, so that no null is of their size; or fewer than 2 examples or no layer.
        NonFiniteError: a measure is not defined, for instance because a state is zero (geometry/spread.py).
    """
    if not seen.shape == reference.shape == other.shape or len(seen) < 2:
        raise ValueError(
            f"evidence compares three sets of states of one shape (layer + 1, example, width), got {seen.shape}, "
            f"{reference.shape} and {other.shape}"
        )
    unit = np.abs(reference.astype(np.float64)).max() or 1.0
    own, first, second = (states.astype(np.float64) / unit for states in (seen, reference, other))
    found = {**_profiles(own, first, second, seed), **_measures(own[1:], first[1:], second[1:])}
    return {name: float(found[name]) for name in EVIDENCE}


def _profiles(seen: np.ndarray, reference: np.ndarray, other: np.ndarray, seed: int) -> dict[str, float]:
    """What the norm and the distance profile say."""
    size = seen.shape[1]
    pool = shape(np.concatenate([reference, other], axis=1))
    against, inner = pool.take(examples=range(size)).profiles(), pool.take(layers=range(1, len(seen)))
    nulls = (inner.norm_profile, inner.distance_profile)
    depth = np.linspace(0, 1, len(seen) - 1)
    depth -= depth.mean()
    found = {}
    for kind, profile, base, null_of in zip(KINDS, shape(seen).profiles(), against, nulls, strict=True):
        before, *after = _ratio(profile[0], base[0])
        layers = np.asarray(after)
        value = float(np.abs(layers).mean())
        null = float(np.percentile(split_halves(deviating(null_of), size, seed, NULL_DRAWS), 95))
        found[f"{kind}_excess"] = np.log10(max(value, LEAST) / max(null, LEAST))
        found[f"{kind}_shift"] = layers.mean()
        found[f"{kind}_slope"] = depth @ layers / max(depth @ depth, LEAST)
        found[f"{kind}_before"] = abs(before) / max(abs(before) + value, LEAST)
    return found


def _measures(seen: np.ndarray, reference: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """What the field's measures say, of states after the layers."""
    shifts = {"spread": cosine_spread, "rank": effective_rank, "dimension": intrinsic_dimension}
    found = {f"{name}_shift": _ratio(measure(seen), measure(reference)).mean() for name, measure in shifts.items()}
    alignment = covariance_alignment(seen, reference) - covariance_alignment(other, reference)
    return {**found, "alignment_shift": alignment.mean(), "alignment_last": alignment[-1]}


def _ratio(seen: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio, cut off at `LIMIT`."""
    return np.clip(signed(seen, reference), -LIMIT, LIMIT)
