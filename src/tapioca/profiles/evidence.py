"""What unlabelled inputs say about a shift: a dozen numbers on scales that all models share, for a classifier to weigh.

All compare OOD with ID states under the full model, as log ratios, shares or differences of cosines: none changes when
all states are multiplied by one number, and none grows with the number of layers or the width.
"""

import numpy as np

from tapioca.profiles.cka import covariance_alignment
from tapioca.profiles.deviation import measure_null, signed_log_ratio
from tapioca.profiles.profiles import PROFILE_KINDS, draw_halves, state_geometry
from tapioca.profiles.spread import cosine_spread, effective_rank, intrinsic_dimension

EVIDENCE: tuple[str, ...] = (
    *(f"{kind}_{name}" for name in ("excess", "shift", "slope", "before") for kind in PROFILE_KINDS),
    "spread_shift",
    "rank_shift",
    "dimension_shift",
    "alignment_shift",
    "alignment_last",
)
"""The names, in the order in which a classifier reads them; defined under `measure_evidence`."""

SPREAD_MEASURES = {"spread_shift": cosine_spread, "rank_shift": effective_rank, "dimension_shift": intrinsic_dimension}
MAX_LOG_RATIO = 5.0
"""Largest |log ratio|, a factor of 148: the ratio to a distance of 0, of prompts that end alike, says no more than that."""

MIN_DEVIATION = 1e-4
"""Deviations below it, 0.01 %, are none: rounding makes as much."""


def measure_evidence(
    ood: np.ndarray, reference: np.ndarray, second_reference: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Say in numbers how OOD states differ from ID states; no answers are needed.

    With s_l the natural log ratio of the profile of `ood` to that of `reference` after layer l, and s_in before the
    first layer, for norms and for pairwise distances alike:

    - `*_excess`: log10 of the deviation, the mean of |s_l|, over the 95th percentile of its null, two halves of
      `reference` and `second_reference` together. Above 0 the deviation is above its null.
    - `*_shift`: mean of s_l; above 0 where OOD states are longer, or further apart.
    - `*_slope`: slope of s_l over depth by least squares, depth 0 after the first layer and 1 after the last.
    - `*_before`: |s_in| / (|s_in| + mean of |s_l|): 0 where the layers make all of the deviation, a half where they
      leave it as it came, 1 where they take all of it away; 0 where there is none.

    And as means over the layers:

    - `spread_shift`, `rank_shift`, `dimension_shift`: log ratio of cosine spread, effective rank and intrinsic
      dimension (profiles/spread.py).
    - `alignment_shift`: the covariances' alignment of `ood` with `reference` less that of `second_reference` with
      `reference`; below 0 where OOD states spread over other directions than ID states do. `alignment_last`: the same after the
      last layer alone.

    Args:
        ood: OOD states under the full model, before the first layer and after each (`observe.capture_stream_states`), of
            shape (layer + 1, example, width).
        reference, second_reference: two disjoint sets of ID states of the same shape.

    Returns:
        Finite numbers by the names in `EVIDENCE`. Log ratios are cut off at `MAX_LOG_RATIO`.

    Raises:
        ValueError: the three differ in shape, so that no null is of their size; or fewer than 2 examples or no layer.
        NonFiniteError: a measure is not defined, for instance because a state is zero (profiles/spread.py).
    """
    scaled_ood, first, second = _scale_states(ood, reference, second_reference)
    return _relate_to_null(_compare_states(scaled_ood, first), _measure_null(first, second, seed))


def measure_evidence_of_halves(
    reference: np.ndarray, second_reference: np.ndarray, draws: int, seed: int = 0
) -> list[dict[str, float]]:
    """The same between random halves of both ID sets together: what the numbers are where there is no shift.

    Args:
        reference, second_reference, seed: as for `measure_evidence`.
        draws: how many random halves.
    """
    first, second = _scale_states(reference, second_reference)
    pool, null = np.concatenate([first, second], axis=1), _measure_null(first, second, seed)
    sides = draw_halves(first.shape[1], draws, np.random.default_rng(seed)).astype(bool)
    return [_relate_to_null(_compare_states(pool[:, side], pool[:, ~side]), null) for side in sides]


def _scale_states(*sets: np.ndarray) -> list[np.ndarray]:
    """Sets of states in float64 and in units of the largest number of the last but one, the reference or a half of it."""
    if len({states.shape for states in sets}) > 1 or len(sets[0]) < 2:
        raise ValueError(
            "evidence compares sets of states of one shape (layer + 1, example, width), got "
            + " and ".join(str(states.shape) for states in sets)
        )
    unit = np.abs(sets[-2].astype(np.float64)).max() or 1.0
    return [states.astype(np.float64) / unit for states in sets]


def _measure_null(reference: np.ndarray, second_reference: np.ndarray, seed: int) -> dict[str, float]:
    """What the deviations and alignments of ID states are: their 95th percentile over random halves, and themselves."""
    pool = state_geometry(np.concatenate([reference[1:], second_reference[1:]], axis=1))
    uppers = np.percentile(measure_null(pool, seed), 95, axis=-1).tolist()
    null_by_name = {f"{kind}_excess": upper for kind, upper in zip(PROFILE_KINDS, uppers, strict=True)}
    return null_by_name | _measure_alignment(second_reference, reference)


def _relate_to_null(evidence_by_name: dict[str, float], null: dict[str, float]) -> dict[str, float]:
    """The numbers of two sets as what they are beyond the null."""
    for name, null_value in null.items():
        if name.startswith("alignment"):
            evidence_by_name[name] -= null_value
        else:
            evidence_by_name[name] = np.log10(
                max(evidence_by_name[name], MIN_DEVIATION) / max(null_value, MIN_DEVIATION)
            )
    return {name: float(evidence_by_name[name]) for name in EVIDENCE}


def _compare_states(ood: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """All numbers of two sets, deviations and alignments as they are."""
    evidence_by_name = _measure_alignment(ood, reference)
    depth = np.linspace(0, 1, len(ood) - 1)
    depth -= depth.mean()
    ratios_by_kind = _clipped_log_ratio(state_geometry(ood).profiles(), state_geometry(reference).profiles())[:, 0]
    for kind, (before, *after) in zip(PROFILE_KINDS, ratios_by_kind, strict=True):
        log_ratios = np.asarray(after)
        mean_deviation = np.abs(log_ratios).mean()
        evidence_by_name[f"{kind}_excess"] = mean_deviation
        evidence_by_name[f"{kind}_shift"] = log_ratios.mean()
        evidence_by_name[f"{kind}_slope"] = depth @ log_ratios / max(depth @ depth, MIN_DEVIATION)
        evidence_by_name[f"{kind}_before"] = abs(before) / max(abs(before) + mean_deviation, MIN_DEVIATION)
    for name, measure in SPREAD_MEASURES.items():
        evidence_by_name[name] = _clipped_log_ratio(measure(ood[1:]), measure(reference[1:])).mean()
    return evidence_by_name


def _measure_alignment(ood: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    alignments = covariance_alignment(ood[1:], reference[1:])
    return {"alignment_shift": alignments.mean(), "alignment_last": alignments[-1]}


def _clipped_log_ratio(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Log ratio, cut off at `MAX_LOG_RATIO`."""
    return np.clip(signed_log_ratio(values, reference), -MAX_LOG_RATIO, MAX_LOG_RATIO)
