"""Each layer's own share of a deviation, in two ways.

*Along the unpruned stream*: how much the deviation grows from before the layer to after it. The shares sum to the
deviation after the last layer; a layer is charged with what happens inside it, whatever earlier layers made it do.

*By removal*: how much the mean deviation over the other layers falls when the layer is dropped. It counts what the layer
does to all layers after it, so early layers count for more, the last one always for 0, and shares do not sum to
anything. Dropping a layer also moves the ID states that the reference would have passed through: as the reference stays
that of the full model, a layer that stretches ID and OOD states alike has a negative share by removal and none along the
stream. The two agree on a layer that alone amplifies a shift and is followed by others.
"""

from collections.abc import Iterable

import numpy as np

from tapioca.profiles.deviation import RESAMPLES, recentred_interval, removed_deviation, signed_log_ratio
from tapioca.profiles.profiles import PROFILE_KINDS, StateGeometry, count_and_resample
from tapioca.records import Attribution, Estimate


def shares_along_stream(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Growth of |log ratio to the reference| over each layer.

    Args:
        profile, reference: (..., layer + 1), before the first layer and after each.

    Returns:
        (..., layer), negative where a layer takes deviation away.
    """
    return np.diff(np.abs(signed_log_ratio(profile, reference)), axis=-1)


def shares_by_removal(profile: np.ndarray, without: np.ndarray, reference: np.ndarray, layer: int) -> np.ndarray:
    """Deviation of the full model less the deviation without one layer, both over the other layers.

    Args:
        profile, reference: of the full model, (..., layer).
        without: of the plan that drops `layer`, (..., layer - 1).
        layer: which one it drops.

    Returns:
        (...), above 0 where dropping the layer removes deviation.
    """
    return removed_deviation(np.delete(profile, layer, -1), without, np.delete(reference, layer, -1))


def attribute_deviation(
    geometry: StateGeometry, reference: StateGeometry, without: Iterable[tuple[int, StateGeometry]], seed: int = 0
) -> tuple[Attribution, ...]:
    """Attribute the deviation of some examples to the layers, with intervals from resampling examples of both sets.

    Args:
        geometry, reference: OOD and ID examples under the full model, before the first layer and after each. Where all
            prompts of only one side end in the same token, distances before the first layer are 0 on that side, and
            the deviation there is as large as their floor makes it.
        without: a layer, and the same OOD examples under the plan that drops it, after each layer kept; used one at a
            time. Layers left out have no share by removal.

    Returns:
        One for each kind of profile.
    """
    rng = np.random.default_rng(seed)
    counts, reference_counts = (count_and_resample(side.n_examples, RESAMPLES, rng) for side in (geometry, reference))
    profiles, reference_profiles = geometry.profiles(counts), reference.profiles(reference_counts)
    before = np.abs(signed_log_ratio(profiles, reference_profiles))[:, 0, 0].tolist()
    along = shares_along_stream(profiles, reference_profiles)
    removal = {
        layer: shares_by_removal(profiles[..., 1:], dropped.profiles(counts), reference_profiles[..., 1:], layer)
        for layer, dropped in without
    }
    return tuple(
        Attribution(
            kind=kind,
            before=before[row],
            along=tuple(map(_estimate_from_draws, along[row].T)),
            removal=tuple(
                _estimate_from_draws(removal[layer][row]) if layer in removal else None
                for layer in range(along.shape[-1])
            ),
        )
        for row, kind in enumerate(PROFILE_KINDS)
    )


def _estimate_from_draws(draws: np.ndarray) -> Estimate:
    """The first value, of all examples as they are, with the interval of the others, which are resampled."""
    return Estimate(value=float(draws[0]), ci95=recentred_interval(float(draws[0]), draws[1:]))
