"""What a model costs, and what a plan saves."""

from collections.abc import Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import run_forward
from tapioca.plan import Plan


def count_parameters(model: PreTrainedModel, plan: Plan) -> int:
    """Number of parameters left under a plan; shared ones count once."""
    blocks = find_layers(model).blocks
    dropped = {id(p) for layer in plan.drops for p in blocks[layer].parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in dropped)


def count_flops(model: PreTrainedModel, plan: Plan, batch: dict[str, torch.Tensor]) -> int:
    """Floating-point operations of the matrix products of one forward, counted by torch; outputs at the last token."""
    with _make_flop_counter() as counter, apply(model, plan):
        run_forward(model, batch, keep=1)
    return int(counter.get_total_flops())


def count_layer_flops(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Floating-point operations of one forward: of the average layer, and of all that is no layer."""
    layers = find_layers(model)
    with _make_flop_counter() as counter:
        run_forward(model, batch, keep=1)
    counts = counter.get_flop_counts()
    layer_total = sum(
        sum(counts[f"{type(model).__name__}.{layers.path}.{layer}"].values()) for layer in range(len(layers))
    )
    return layer_total / len(layers), float(counter.get_total_flops() - layer_total)


def _make_flop_counter() -> FlopCounterMode:
    """Counts matrix products; those of attention on a CPU are told to it, since torch knows those of GPUs alone."""
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={attention: _count_attention_flops})


def _count_attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    """Operations of attention on shapes (batch, head, token, width), masked pairs of tokens included."""
    batch, heads, tokens, width = query
    return 2 * batch * heads * tokens * key[2] * (width + value[3])
