"""Read the residual stream while the model runs its own forward: after each layer, and where it breaks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.models.branches import argument_names
from tapioca.models.find import find_layers
from tapioca.models.inputs import forward
from tapioca.records import Plan


def layer_outputs(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], read: Callable[[int, torch.Tensor], None]
) -> None:
    """Run a batch and hand over the hidden state after each layer, before the final norm.

    Args:
        model: possibly under a plan; dropped layers hand over nothing.
        batch: from `collate`.
        read: called with the layer's place in the running model and its output (batch, token, width).
    """
    with ExitStack() as stack:
        for place, block in enumerate(find_layers(model).blocks):

            def hook(module: Any, args: Any, output: Any, place: int = place) -> None:
                read(place, output[0] if isinstance(output, tuple) else output)

            stack.callback(block.register_forward_hook(hook).remove)
        forward(model, batch, keep=1)


def residual_stream(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], read: Callable[[int, torch.Tensor], None]
) -> None:
    """Run a batch and hand over the residual stream: before the first layer, and after each layer.

    Args:
        model: possibly under a plan.
        batch: from `collate`.
        read: called with 0 and the first layer's input, then with n and the state after n layers: (batch, token, width).
    """
    first = find_layers(model).blocks[0]

    def before(module: Any, args: Any, kwargs: Any) -> None:
        read(0, args[0] if args else kwargs[argument_names(module)[0]])

    handle = first.register_forward_pre_hook(before, with_kwargs=True)
    try:
        layer_outputs(model, batch, lambda place, output: read(place + 1, output))
    finally:
        handle.remove()


def first_non_finite(model: PreTrainedModel, plan: Plan, batch: dict[str, torch.Tensor]) -> str:
    """Name the first place where a batch becomes NaN or infinite under a plan that is applied already."""
    broken: list[int] = []

    def read(place: int, states: torch.Tensor) -> None:
        if not torch.isfinite(states[batch["attention_mask"].bool()]).all():
            broken.append(place)

    layer_outputs(model, batch, read)
    return f"layer {plan.kept[broken[0]]}" if broken else "the output after the last layer"
