"""What no plan may say, refused with a ValueError that says why."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapioca.plan.plan import Plan


def check_layers(plan: Plan) -> None:
    """Refuse layers that the model has not, and blocks that are none."""
    tables = (*plan.layers, *plan.attention, *plan.mlp, *plan.factors, *plan.maps, *plan.norms)
    for layer in (*(layer for layer, _ in tables), *(layer for block in plan.repeats for layer in block)):
        if not 0 <= layer < plan.n_layers:
            raise ValueError(f"layer {layer} is outside 0-{plan.n_layers - 1}, the layers of this model")
    for first, last in plan.repeats:
        if first > last:
            raise ValueError(f"block {first}-{last} ends before it begins; write its first layer first")
    for (first, last), (next_first, next_last) in pairwise(plan.repeats):
        if next_first <= last:
            raise ValueError(
                f"blocks {first}-{last} and {next_first}-{next_last} overlap; a layer is repeated with one of them"
            )


def check_numbers(plan: Plan) -> None:
    """Refuse numbers that no layer can be given."""
    for layer, scale in (*plan.layers, *plan.attention, *plan.mlp, *plan.factors):
        if not (math.isfinite(scale) and scale >= 0):
            raise ValueError(f"layer {layer} has scale {scale}; a scale is a finite number >= 0")
    if zeros := [layer for layer, factor in plan.factors if factor == 0.0]:
        raise ValueError(
            f"a factor of 0 in front of layer {zeros[0]} leaves nothing of the stream; a factor is above 0"
        )
    for layer, norm in plan.norms:
        if not (math.isfinite(norm) and norm > 0):
            raise ValueError(f"a norm of {norm} in front of layer {layer}; a norm is a finite number above 0")
    for layer, held in plan.maps:
        if held.is_here and (held.array.ndim != 2 or held.array.shape[0] != held.array.shape[1]):
            raise ValueError(
                f"the map of layer {layer} has shape {held.array.shape}; a map is a square matrix, (width, width)"
            )
