"""What unlabelled inputs say about a shift: a dozen numbers on scales that all models share, for a judge to weigh.

All compare OOD with ID states under the full model, as log ratios, shares or differences of cosines: none changes when
all states are multiplied by one number, and none grows with the number of layers or the width.
"""

from __future__ import annotations

import numpy as np

from tapioca.geometry.alignment import signed
from tapioca.geometry.cka import covariance_alignment
from tapioca.geometry.nulls import deviating, split_halves
from tapioca.geometry.profiles import KINDS, halves, shape
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

MEASURES = {"spread_shift": cosine_spread, "rank_shift": effective_rank, "dimension_shift": intrinsic_dimension}
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
    own, first, second = _scaled(seen, reference, other)
    return _against(_compared(own, first), _null(first, second, seed))


def evidence_of_halves(reference: np.ndarray, other: np.ndarray, draws: int, seed: int = 0) -> list[dict[str, float]]:
    """The same between random halves of both ID sets together: what the numbers are where there is no shift.

    Args:
        reference, other, seed: as for `evidence`.
        draws: how many random halves.
    """
    first, second = _scaled(reference, other)
    pool, null = np.concatenate([first, second], axis=1), _null(first, second, seed)
    sides = halves(first.shape[1], draws, np.random.default_rng(seed)).astype(bool)
    return [_against(_compared(pool[:, side], pool[:, ~side]), null) for side in sides]


def _scaled(*sets: np.ndarray) -> list[np.ndarray]:
    """Sets of states in float64 and in units of the largest number of the last but one, the reference or a half of it."""
    if len({states.shape for states in sets}) > 1 or len(sets[0]) < 2:
        raise ValueError(
            "evidence compares sets of states of one shape (layer + 1, example, width), got "
            + " and ".join(str(states.shape) for states in sets)
        )
    unit = np.abs(sets[-2].astype(np.float64)).max() or 1.0
    return [states.astype(np.float64) / unit for states in sets]


def _null(reference: np.ndarray, other: np.ndarray, seed: int) -> dict[str, float]:
    """What the deviations and alignments of ID states are: their 95th percentile over random halves, and themselves."""
    pool = shape(np.concatenate([reference[1:], other[1:]], axis=1))
    found = {}
    for kind, profiles in zip(KINDS, (pool.norm_profile, pool.distance_profile), strict=True):
        drawn = split_halves(deviating(profiles), reference.shape[1], seed, NULL_DRAWS)
        found[f"{kind}_excess"] = float(np.percentile(drawn, 95))
    return {**found, **_alignment(other, reference)}


def _against(found: dict[str, float], null: dict[str, float]) -> dict[str, float]:
    """The numbers of two sets as what they are beyond the null."""
    for name, usual in null.items():
        if name.startswith("alignment"):
            found[name] -= usual
        else:
            found[name] = np.log10(max(found[name], LEAST) / max(usual, LEAST))
    return {name: float(found[name]) for name in EVIDENCE}


def _compared(seen: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """All numbers of two sets, deviations and alignments as they are."""
    found = _alignment(seen, reference)
    depth = np.linspace(0, 1, len(seen) - 1)
    depth -= depth.mean()
    for kind, own, base in zip(KINDS, shape(seen).profiles(), shape(reference).profiles(), strict=True):
        before, *after = _ratio(own[0], base[0])
        layers = np.asarray(after)
        value = np.abs(layers).mean()
        found[f"{kind}_excess"] = value
        found[f"{kind}_shift"] = layers.mean()
        found[f"{kind}_slope"] = depth @ layers / max(depth @ depth, LEAST)
        found[f"{kind}_before"] = abs(before) / max(abs(before) + value, LEAST)
    for name, measure in MEASURES.items():
        found[name] = _ratio(measure(seen[1:]), measure(reference[1:])).mean()
    return found


def _alignment(seen: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    found = covariance_alignment(seen[1:], reference[1:])
    return {"alignment_shift": found.mean(), "alignment_last": found[-1]}


def _ratio(seen: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio, cut off at `LIMIT`."""
    return np.clip(signed(seen, reference), -LIMIT, LIMIT)
