"""The tokens that all prompts of a task begin with: read once under each plan, not once for every prompt.

What attention keeps of them, keys and values, depends on nothing that follows. It is taken down layer by layer while
the opening alone goes through the layers, and then stands in front of every batch in the place of a KV cache. Plans
that share their first layers share their keys and values too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedModel

from tapioca.engine.key_values import KeyValues
from tapioca.models.inputs import collate
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import LayerInput, describe_layer_input, list_steps
from tapioca.records import Inputs


class SharedPrefix:
    """What attention keeps of an opening, under every plan asked for so far.

    Args:
        model: a causal language model, whose attention takes what stands before a batch from a KV cache.
        ids: the opening's tokens.

    Attributes:
        layer_by_input: the keys and values of a layer, by what decides what it reads.
    """

    def __init__(self, model: PreTrainedModel, ids: Inputs):
        self.model, self.ids = model, ids
        self.layer_by_input: dict[LayerInput, KeyValues] = {}

    def collate_rest(self, sequences: Sequence[Inputs]) -> dict[str, torch.Tensor]:
        """`collate` for sequences that follow the opening, padded between it and them."""
        batch = collate(self.model, sequences)
        mask = batch["attention_mask"]
        batch["attention_mask"] = torch.cat([mask.new_ones(len(mask), len(self.ids)), mask], dim=1)
        if "position_ids" in batch:
            batch["position_ids"] = batch["position_ids"] + len(self.ids)
        return batch

    def list_unread_plans(self, plans: Collection[Plan]) -> list[Plan]:
        """The plans under which the opening is yet to be read; what none of these plans needs is forgotten."""
        inputs_by_plan = {plan: _list_attention_inputs(plan) for plan in plans}
        needed_inputs = set().union(*inputs_by_plan.values())
        self.layer_by_input = {
            layer_input: layer for layer_input, layer in self.layer_by_input.items() if layer_input in needed_inputs
        }
        return [plan for plan, inputs in inputs_by_plan.items() if not inputs <= self.layer_by_input.keys()]

    def max_layer_bytes(self) -> int:
        """Of the keys and values kept for one layer, at most."""
        return max((2 * layer.keys.nbytes for layer in self.layer_by_input.values()), default=0)

    def find_any_layer(self) -> KeyValues:
        """Keys and values of any layer: their shape is that of all."""
        return next(iter(self.layer_by_input.values()))

    def stand_before(self, layer_inputs: Sequence[LayerInput], rows: int) -> KeyValues:
        """What stands before the rows of streams that a layer reads as this, so many for each.

        Where nothing is kept, attention is scaled to 0; what it computes for the cache's sake is discarded.
        """
        layers = [self.layer_by_input.get(layer_input) or self.find_any_layer() for layer_input in layer_inputs]
        keys, values = (
            torch.cat([states.expand(rows, -1, -1, -1) for states in states_by_stream])
            if len(layers) > 1
            else states_by_stream[0].expand(rows, -1, -1, -1)
            for states_by_stream in zip(*((layer.keys, layer.values) for layer in layers), strict=True)
        )
        return KeyValues.hold(keys, values)

    def keep(self, layer_inputs: Sequence[LayerInput], layer: KeyValues) -> None:
        """Keep what a layer has of the opening, one row for each stream."""
        if layer.is_initialized:
            for row, layer_input in enumerate(layer_inputs):
                kept_layer = KeyValues.hold(layer.keys[row : row + 1].clone(), layer.values[row : row + 1].clone())
                self.layer_by_input.setdefault(layer_input, kept_layer)


def _list_attention_inputs(plan: Plan) -> set[LayerInput]:
    """What each layer of a plan reads whose attention it computes."""
    steps = list_steps(plan)
    return {
        describe_layer_input(steps, layer) for layer, step in enumerate(steps) if not step.dropped and step.attention
    }
