"""Each layer's own share of a deviation, in two ways.

*Along the unpruned stream*: how much the deviation grows from before the layer to after it. The shares sum to the
deviation after the last layer; a layer is charged with what happens inside it, whatever earlier layers made it do.

*By removal*: how much the mean deviation over the other layers falls when the layer is dropped. It counts what the layer
does to all layers after it, so early layers count for more, the last one always for 0, and shares do not sum to
anything. Dropping a layer also moves the ID states that the reference would have passed through: as the reference stays
that of the full model, a layer that stretches ID and OOD states alike has a negative share by removal and none along the
stream. The two agree on a layer that alone amplifies a shift and is followed by others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tapioca.geometry.alignment import DRAWS, around, removed, signed
from tapioca.geometry.profiles import KINDS, Shape, resamples
from tapioca.records import Attribution, Estimate


def along_stream(profile: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Growth of |log ratio to the reference| over each layer.

    Args:
        profile, reference: (..., layer + 1), before the first layer and after each.

    Returns:
        (..., layer), negative where a layer takes deviation away.
    """
    return np.diff(np.abs(signed(profile, reference)), axis=-1)


def by_removal(profile: np.ndarray, without: np.ndarray, reference: np.ndarray, layer: int) -> np.ndarray:
    """Deviation of the full model less the deviation without one layer, both over the other layers.

    Args:
        profile, reference: of the full model, (..., layer).
        without: of the plan that drops `layer`, (..., layer - 1).
        layer: which one it drops.

    Returns:
        (...), above 0 where dropping the layer removes deviation.
    """
    return removed(np.delete(profile, layer, -1), without, np.delete(reference, layer, -1))


def attribute(
    seen: Shape, reference: Shape, without: Iterable[tuple[int, Shape]], seed: int = 0
) -> tuple[Attribution, ...]:
    """Attribute the deviation of some examples to the layers, with intervals from resampling examples of both sets.

    Args:
        seen, reference: OOD and ID examples under the full model, before the first layer and after each. Where all
            prompts of only one side end in the same token, distances before the first layer are 0 on that side, and
            the deviation there is as large as their floor makes it.
        without: a layer, and the same OOD examples under the plan that drops it, after each layer kept; used one at a
            time. Layers left out have no share by removal.
        seed: of the resampling.

    Returns:
        Norm and distance.
    """
    rng = np.random.default_rng(seed)
    counts = [
        np.vstack([np.ones(n), resamples(n, DRAWS, rng)]) for n in (seen.norms.shape[1], reference.norms.shape[1])
    ]
    profiles, against = seen.profiles(counts[0]), reference.profiles(counts[1])
    removal: dict[int, list[Estimate]] = {}
    for layer, shape in without:
        dropped = zip(profiles, shape.profiles(counts[0]), against, strict=True)
        removal[layer] = [_estimate(by_removal(a[:, 1:], b, c[:, 1:], layer)) for a, b, c in dropped]
    return tuple(
        Attribution(
            kind=kind,
            before=float(np.abs(signed(profiles[at], against[at]))[0, 0]),
            along=tuple(_estimate(share) for share in along_stream(profiles[at], against[at]).T),
            removal=tuple(removal[n][at] if n in removal else None for n in range(seen.norms.shape[0] - 1)),
        )
        for at, kind in enumerate(KINDS)
    )


def _estimate(draws: np.ndarray) -> Estimate:
    """The first value, of all examples as they are, with the interval of the others, which are resampled."""
    return Estimate(value=float(draws[0]), ci95=around(float(draws[0]), draws[1:]))
