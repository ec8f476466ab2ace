"""The tokens that all prompts of a task begin with: read once under each plan, not once for every prompt.

What attention keeps of them, keys and values, depends on nothing that follows. It is taken down layer by layer while
the opening alone goes through the layers, and then stands in front of every batch in the place of a KV cache. Plans
that share their first layers share their keys and values too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from tapioca.models.inputs import collate
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, list_steps
from tapioca.records import Inputs


class PrefixKVLayer(DynamicLayer):
    """Keys and values of one layer, (row, head, token, width): keeps the first it is given, and stands them in front
    of all later ones."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            super().update(key_states, value_states)
            return key_states, value_states
        rows = len(key_states)
        keys, values = (prefix_states.expand(rows, -1, -1, -1) for prefix_states in (self.keys, self.values))
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

    def select_row(self, row: int) -> PrefixKVLayer:
        """Those of one row."""
        single = PrefixKVLayer()
        single.update(self.keys[row : row + 1], self.values[row : row + 1])
        return single


def join_layers(layers: Sequence[PrefixKVLayer], rows: int) -> PrefixKVLayer:
    """Keys and values of one row each, for as many streams of `rows` rows on the batch axis."""
    if len(layers) == 1:
        return layers[0]
    joined_layer = PrefixKVLayer()
    keys, values = torch.cat([layer.keys for layer in layers]), torch.cat([layer.values for layer in layers])
    joined_layer.update(keys.repeat_interleave(rows, dim=0), values.repeat_interleave(rows, dim=0))
    return joined_layer


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
        self.layer_by_prefix: dict[Prefix, PrefixKVLayer] = {}

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


def _list_attention_prefixes(plan: Plan) -> set[Prefix]:
    """What a plan does before each layer whose attention it computes."""
    plan_steps = list_steps(plan)
    return {plan_steps[:layer] for layer, step in enumerate(plan_steps) if not step.dropped and step.attention}


class PrefixCache:
    """An opening as streams meet it on their way through the layers.

    Args:
        shared_prefix: keys and values to read, or to take down.
        layers: number of layers the streams go through.
        prefilling: whether the opening itself goes through the layers.

    Attributes:
        cache: what the model is handed; it grows by nothing.
    """

    def __init__(self, shared_prefix: SharedPrefix, layers: int, prefilling: bool):
        self.layer_by_prefix, self.prefilling = shared_prefix.layer_by_prefix, prefilling
        self._placeholder = PrefixKVLayer() if prefilling else next(iter(self.layer_by_prefix.values()))
        self.cache = Cache(layers=[self._placeholder] * layers)

    def before_layer(self, place: int, prefixes: Sequence[Prefix], rows: int) -> None:
        """Before streams of so many rows go through the layer at a place: what their plans do before it.

        Where nothing is kept, attention is scaled to 0; what it computes for the cache's sake is discarded.
        """
        if self.prefilling:
            self.cache.layers[place] = PrefixKVLayer()
        else:
            prefix_layers = [self.layer_by_prefix.get(prefix, self._placeholder) for prefix in prefixes]
            self.cache.layers[place] = join_layers(prefix_layers, rows)

    def after_layer(self, place: int, prefixes: Sequence[Prefix]) -> None:
        """After they went through it."""
        layer = self.cache.layers[place]
        if self.prefilling and isinstance(layer, PrefixKVLayer) and layer.is_initialized:
            for row, prefix in enumerate(prefixes):
                self.layer_by_prefix.setdefault(prefix, layer.select_row(row))
