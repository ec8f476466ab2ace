"""What a plan says by layer: the tables it is made of, in the one form that makes equal plans equal."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

from tapioca.plan.arrays import HashedArray

BranchName = Literal["attention", "mlp"]
BRANCHES: tuple[BranchName, ...] = ("attention", "mlp")
Grain = Literal["layers", "attention", "mlp"]
GRAINS: tuple[Grain, ...] = ("layers", "attention", "mlp")
"""What a scale is of: whole layers, or one branch of them."""


Compensation = Literal["scale", "linear"]
"""What makes up for dropped layers: a factor of the stream behind each gap, or a linear map of what the MLP in front adds."""

Tokens = Literal["all", "last"]
"""At which tokens a norm is set: at all but each row's first, whose states swamp the others, or at each row's last."""


def canonical_numbers(numbers: Any, neutral: float | None = None) -> tuple[tuple[int, float], ...]:
    """Pairs (layer, number), sorted, without those that change nothing."""
    try:
        items = numbers.items() if isinstance(numbers, Mapping) else numbers
        table = {int(layer): float(number) + 0.0 for layer, number in items}  # + 0.0 turns -0.0 into 0.0
    except (TypeError, OverflowError) as error:
        raise ValueError(f"scales must map layers to numbers, got {numbers!r:.60}") from error
    return tuple(sorted((layer, number) for layer, number in table.items() if number != neutral))


def _canonical_scales(scales: Any) -> tuple[tuple[int, float], ...]:
    return canonical_numbers(scales, neutral=1.0)


def _canonical_maps(maps: Any) -> Any:
    """Pairs (layer, array), sorted; what the arrays are is checked behind this."""
    try:
        items = maps.items() if isinstance(maps, Mapping) else maps
        return tuple(sorted(((int(layer), array) for layer, array in items), key=lambda pair: pair[0]))
    except (TypeError, OverflowError) as error:
        raise ValueError(f"maps must give layers arrays, got {maps!r:.60}") from error


def _canonical_blocks(blocks: Any) -> Any:
    """Blocks, sorted; their layers are checked behind this."""
    try:
        return tuple(sorted((first, last) for first, last in blocks))
    except (TypeError, ValueError) as error:
        raise ValueError(f"repeats must list blocks by their first and last layer, got {blocks!r:.60}") from error


def _by_layer(pairs: Iterable[tuple[int, Any]]) -> dict[str, Any]:
    return {str(layer): entry for layer, entry in pairs}


def _name_by_layer(maps: Iterable[tuple[int, HashedArray]]) -> dict[str, str]:
    return {str(layer): held.digest for layer, held in maps}


Numbers = Annotated[
    tuple[tuple[int, float], ...],
    BeforeValidator(canonical_numbers),
    PlainSerializer(_by_layer, return_type=dict[str, float]),
]
"""One number for each of some layers."""

Scales = Annotated[
    tuple[tuple[int, float], ...],
    BeforeValidator(_canonical_scales),
    PlainSerializer(_by_layer, return_type=dict[str, float]),
]
"""The same, where 1 changes nothing and is left out."""

Maps = Annotated[
    tuple[tuple[int, HashedArray], ...],
    BeforeValidator(_canonical_maps),
    PlainSerializer(_name_by_layer, return_type=dict[str, str]),
]
"""An array for each of some layers; in JSON its digest."""

Blocks = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_canonical_blocks)]
"""Layers next to each other, by the first and the last."""


def shrink_blocks(blocks: Iterable[tuple[int, int]], kept: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Blocks from their first to their last layer that is kept; those without one are gone."""
    layers = sorted(kept)
    insides = [[layer for layer in layers if first <= layer <= last] for first, last in blocks]
    return tuple((inside[0], inside[-1]) for inside in insides if inside)
