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
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.records import Inputs


class SharedPrefix:
    """What attention keeps of an opening, under every plan asked for so far.

    Args:
        model: a causal language model, whose attention takes what stands before a batch from a KV cache.
        ids: the opening's tokens.

    Attributes:
        layer_by_prefix: by what plans do with the layers before: the keys and values of the next layer.
    """

    def __init__(self, model: PreTrainedModel, ids: Inputs):
        self.model, self.ids = model, ids
        self.layer_by_prefix: dict[Prefix, KeyValues] = {}

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
        prefixes_by_plan = {plan: _list_attention_prefixes(plan) for plan in plans}
        needed_prefixes = set().union(*prefixes_by_plan.values())
        self.layer_by_prefix = {
            prefix: layer for prefix, layer in self.layer_by_prefix.items() if prefix in needed_prefixes
        }
        return [plan for plan, prefixes in prefixes_by_plan.items() if not prefixes <= self.layer_by_prefix.keys()]

    def max_layer_bytes(self) -> int:
        """Of the keys and values kept for one layer, at most."""
        return max((2 * layer.keys.nbytes for layer in self.layer_by_prefix.values()), default=0)

    def find_any_layer(self) -> KeyValues:
        """Keys and values of any layer: their shape is that of all."""
        return next(iter(self.layer_by_prefix.values()))

    def stand_before(self, prefixes: Sequence[Prefix], rows: int) -> KeyValues:
        """What stands before the rows of streams whose plans do this before a layer, so many for each.

        Where nothing is kept, attention is scaled to 0; what it computes for the cache's sake is discarded.
        """
        layers = [self.layer_by_prefix.get(prefix) or self.find_any_layer() for prefix in prefixes]
        keys, values = (
            torch.cat([states.expand(rows, -1, -1, -1) for states in states_by_stream])
            if len(layers) > 1
            else states_by_stream[0].expand(rows, -1, -1, -1)
            for states_by_stream in zip(*((layer.keys, layer.values) for layer in layers), strict=True)
        )
        return KeyValues.hold(keys, values)

    def keep(self, prefixes: Sequence[Prefix], layer: KeyValues) -> None:
        """Keep what a layer has of the opening, one row for each stream."""
        if layer.is_initialized:
            for row, prefix in enumerate(prefixes):
                kept_layer = KeyValues.hold(layer.keys[row : row + 1].clone(), layer.values[row : row + 1].clone())
                self.layer_by_prefix.setdefault(prefix, kept_layer)


def _list_attention_prefixes(plan: Plan) -> set[Prefix]:
    """What a plan does before each layer whose attention it computes."""
    plan_steps = list_steps(plan)
    return {plan_steps[:layer] for layer, step in enumerate(plan_steps) if not step.dropped and step.attention}
