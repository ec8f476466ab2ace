"""What unlabelled inputs say about a shift: numbers on scales that all models and all numbers of inputs share.

They are log ratios of the two profiles of OOD and of ID states under the full model, read at the last token of each prompt and
as the mean over its tokens. None changes when all states are multiplied by one number, none grows with the number of layers
or the width, and none moves with the number of inputs but by chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tapioca.profiles.deviation import mean_deviation, measure_null, signed_log_ratio
from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, draw_halves, state_geometry

READS = ("last", "mean")
"""What of a prompt's states is read: that of the last token, and the mean over its tokens."""

SUMMARIES = ("input", "shift", "slope")
"""Of a log ratio: before the first layer; its mean over the layers; its slope over them."""

EVIDENCE: tuple[str, ...] = tuple(
    f"{read}_{kind}_{summary}" for read in READS for kind in PROFILE_KINDS for summary in SUMMARIES
)
"""The names, in the order in which a classifier reads them."""

NULL_TEST: tuple[str, ...] = tuple(f"{read}_{kind}_excess" for read in READS for kind in PROFILE_KINDS)
"""What says whether there is a deviation at all: the one thing that more examples may change."""

NULL_PERCENTILE = 100 - 5 / len(NULL_TEST)
"""Of a null, below which a deviation is none: equal ID samples are above one of so many nulls 5 times in 100 at most."""

HALVES = 20
"""Random halves of the examples that evidence is measured on again, for its errors."""

MIN_EXAMPLES = 4
"""Fewest examples of a set: halves of it still have a distance."""

MAX_LOG_RATIO = 5.0
"""Largest |log ratio|, a factor of 148: the ratio to a distance of 0, of prompts that end alike, says no more than that."""

MIN_DEVIATION = 1e-4
"""Deviations below it, 0.01 %, are none: rounding makes as much."""


GeometryPairs = Mapping[str, tuple[StateGeometry, StateGeometry]]
"""By `READS`, the norms and distances of OOD states and of both sets of ID states, the reference first."""


@dataclass(frozen=True, eq=False)
class MeasuredEvidence:
    """Evidence with its errors.

    Attributes:
        excess: by the names of `NULL_TEST`, log10 of the deviation of a profile, the mean of |log ratio|, over
            `NULL_PERCENTILE` of its null; above 0 the deviation is above its null.
        values: (name,), in the order of `EVIDENCE`.
        halves: (half, name), the same between random halves of both sets: their scatter is that of `values`.
        id_halves: (half, name), the same between halves of the ID examples: what no shift looks like.
    """

    excess: dict[str, float]
    values: np.ndarray
    halves: np.ndarray
    id_halves: np.ndarray

    @property
    def is_shifted(self) -> bool:
        """Whether a deviation is above its null."""
        return any(value > 0 for value in self.excess.values())


def measure_evidence(
    ood: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    second_reference: Mapping[str, np.ndarray],
    seed: int = 0,
) -> MeasuredEvidence:
    """Say in numbers how OOD states differ from ID states; no answers are needed.

    With s_l the natural log ratio of the profile of `ood` to that of both ID sets together after layer l, `READ_KIND_input` is
    s before the first layer, `_shift` the mean of s_l, above 0 where OOD states are longer or further apart, and `_slope` its
    slope by least squares, depth 0 after the first layer and 1 after the last.

    Args:
        ood: OOD states under the full model by `READS`, before the first layer and after each
            (`observe.capture_last_and_mean_states`), of shape (layer + 1, example, width).
        reference, second_reference: two disjoint sets of ID states of the same shape; a null needs them apart.

    Raises:
        ValueError: the sets differ in shape, or have fewer than `MIN_EXAMPLES` examples or no layer.
    """
    return evidence_from_geometries(pair_geometries(ood, reference, second_reference), seed)


def pair_geometries(
    ood: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], second_reference: Mapping[str, np.ndarray]
) -> GeometryPairs:
    """What evidence is made of, from states as `measure_evidence` takes them; it raises what that does."""
    for read in READS:
        _refuse_unlike(ood[read], reference[read], second_reference[read])
    return {
        read: (
            state_geometry(ood[read]),
            state_geometry(np.concatenate([reference[read], second_reference[read]], axis=1)),
        )
        for read in READS
    }


def evidence_from_geometries(pairs: GeometryPairs, seed: int = 0) -> MeasuredEvidence:
    """`measure_evidence` where norms and distances are known."""
    n, rng = pairs["last"][0].n_examples, np.random.default_rng(seed)
    halves, pool_halves, id_halves = (_draw_halves(size, rng) for size in (n, 2 * n, 2 * n))
    summaries, id_summaries, excess = [], [], dict[str, float]()
    for read in READS:
        unit = float(pairs[read][1].norms.max()) or 1.0
        of_ood, of_pool = (geometry.rescale(1 / unit) for geometry in pairs[read])
        excess |= dict(
            zip(
                (f"{read}_{kind}_excess" for kind in PROFILE_KINDS), _measure_excess(of_ood, of_pool, seed), strict=True
            )
        )
        whole = signed_log_ratio(of_ood.profiles(), of_pool.profiles())
        half = signed_log_ratio(of_ood.profiles(halves), of_pool.profiles(pool_halves))
        summaries.append(_summarise(np.concatenate([whole, half], axis=1)))
        id_summaries.append(_summarise(signed_log_ratio(of_pool.profiles(id_halves), of_pool.profiles(1 - id_halves))))
    of_both, of_id = np.hstack(summaries), np.hstack(id_summaries)
    return MeasuredEvidence(excess=excess, values=of_both[0], halves=of_both[1:], id_halves=of_id)


def _refuse_unlike(*sets: np.ndarray) -> None:
    if len({states.shape for states in sets}) > 1 or len(sets[0]) < 2 or sets[0].shape[1] < MIN_EXAMPLES:
        raise ValueError(
            "evidence compares sets of states of one shape (layer + 1, example, width), of at least "
            f"{MIN_EXAMPLES} examples, got " + " and ".join(str(states.shape) for states in sets)
        )


def _draw_halves(n: int, rng: np.random.Generator) -> np.ndarray:
    """0/1 membership of random halves of n examples, (half, n); of an odd number the last is in none."""
    return np.pad(draw_halves(n // 2, HALVES, rng), ((0, 0), (0, n % 2)))


def _summarise(log_ratios: np.ndarray) -> np.ndarray:
    """Log ratios of shape (kind, draw, layer + 1) summed up over the depth, (draw, kind and summary)."""
    log_ratios = np.clip(log_ratios, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    before, after = log_ratios[..., 0], log_ratios[..., 1:]
    depth = np.linspace(0, 1, after.shape[-1])
    depth -= depth.mean()
    slope = after @ depth / max(float(depth @ depth), MIN_DEVIATION)
    summaries = np.stack([before, after.mean(axis=-1), slope], axis=-1)
    return summaries.swapaxes(0, 1).reshape(log_ratios.shape[1], -1)


def _measure_excess(ood: StateGeometry, pool: StateGeometry, seed: int) -> list[float]:
    """How far the deviation over the layers of each profile from that of the first half of a pool is above its null, log10,
    (kind,)."""
    layers = range(1, len(pool.norms))
    pool = pool.select(layers)
    uppers = np.percentile(measure_null(pool, seed), NULL_PERCENTILE, axis=-1)
    reference = pool.select(examples=range(ood.n_examples))
    deviations = mean_deviation(ood.select(layers).profiles(), reference.profiles())[:, 0]
    ratios = np.maximum(deviations, MIN_DEVIATION) / np.maximum(uppers, MIN_DEVIATION)
    excess: list[float] = np.log10(ratios).tolist()
    return excess
