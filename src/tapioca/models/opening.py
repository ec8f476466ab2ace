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
from tapioca.records import Inputs, Plan
from tapioca.records.tree import Prefix, steps


class Ahead(DynamicLayer):
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
        keys, values = (kept.expand(rows, -1, -1, -1) for kept in (self.keys, self.values))
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)

    def part(self, row: int) -> Ahead:
        """Those of one row."""
        single = Ahead()
        single.update(self.keys[row : row + 1], self.values[row : row + 1])
        return single


def joined(layers: Sequence[Ahead], rows: int) -> Ahead:
    """Keys and values of one row each, for as many streams of `rows` rows on the batch axis."""
    if len(layers) == 1:
        return layers[0]
    whole = Ahead()
    whole.update(*(torch.cat(parts).repeat_interleave(rows, dim=0) for parts in zip(*map(_both, layers), strict=True)))
    return whole


def _both(layer: Ahead) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


class Opening:
    """What attention keeps of an opening, under every plan asked for so far.

    Args:
        model: a causal language model, whose attention takes what stands before a batch from a KV cache.
        ids: the opening's tokens.

    Attributes:
        kept: by what plans do with the layers before: the keys and values of the next layer.
    """

    def __init__(self, model: PreTrainedModel, ids: Inputs):
        self.model, self.ids = model, ids
        self.kept: dict[Prefix, Ahead] = {}

    def batch(self, sequences: Sequence[Inputs]) -> dict[str, torch.Tensor]:
        """`collate` for sequences that follow the opening, padded between it and them."""
        batch = collate(self.model, sequences)
        mask = batch["attention_mask"]
        batch["attention_mask"] = torch.cat([mask.new_ones(len(mask), len(self.ids)), mask], dim=1)
        if "position_ids" in batch:
            batch["position_ids"] = batch["position_ids"] + len(self.ids)
        return batch

    def missing(self, plans: Collection[Plan]) -> list[Plan]:
        """The plans under which the opening is yet to be read; what none of these plans needs is forgotten."""
        wanted = {plan: _places(plan) for plan in plans}
        every = set().union(*wanted.values())
        self.kept = {prefix: layer for prefix, layer in self.kept.items() if prefix in every}
        return [plan for plan, prefixes in wanted.items() if not prefixes <= self.kept.keys()]

    def bytes(self) -> int:
        """Of the keys and values kept for one layer, at most."""
        return max((2 * layer.keys.nbytes for layer in self.kept.values()), default=0)


def _places(plan: Plan) -> set[Prefix]:
    """What a plan does before each layer whose attention it computes."""
    said = steps(plan)
    return {said[:layer] for layer, step in enumerate(said) if not step.dropped and step.attention}


class Past:
    """An opening as streams meet it on their way through the layers.

    Args:
        opening: keys and values to read, or to take down.
        layers: number of layers the streams go through.
        taking: whether the opening itself goes through the layers.

    Attributes:
        cache: what the model is handed; it grows by nothing.
    """

    def __init__(self, opening: Opening, layers: int, taking: bool):
        self.kept, self.taking = opening.kept, taking
        self._any = Ahead() if taking else next(iter(self.kept.values()))
        self.cache = Cache(layers=[self._any] * layers)

    def face(self, place: int, prefixes: Sequence[Prefix], rows: int) -> None:
        """Before streams of so many rows go through the layer at a place: what their plans do before it.

        Where nothing is kept, attention is scaled to 0; what it computes for the cache's sake is discarded.
        """
        found = [Ahead()] if self.taking else [self.kept.get(prefix, self._any) for prefix in prefixes]
        self.cache.layers[place] = joined(found, rows)

    def leave(self, place: int, prefixes: Sequence[Prefix]) -> None:
        """After they went through it."""
        layer = self.cache.layers[place]
        if self.taking and isinstance(layer, Ahead) and layer.is_initialized:
            for row, prefix in enumerate(prefixes):
                self.kept.setdefault(prefix, layer.part(row))
