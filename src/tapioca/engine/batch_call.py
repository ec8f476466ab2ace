"""A layer applied to a batch and to what goes on from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers.cache_utils import Cache

from tapioca.engine.key_values import KeyValues, repeat_layer
from tapioca.engine.layer_call import LayerCall
from tapioca.engine.options import SweepInput
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.plan.prefix_tree import LayerInput

States = tuple[torch.Tensor, ...]
"""Hidden states of one stream: (row, token, width) for a batch, and for each batch that goes on from its rows."""


@dataclass(frozen=True)
class Part:
    """One batch, as the model's own forward takes it.

    Attributes:
        batch: keyword arguments.
        logits_to_keep: number of last positions whose outputs are wanted.
        cache: as long as what stands before the batch; None where the model runs without one.
        origins: the rows of the first part that its rows go on from; None for the first part.
    """

    batch: dict[str, torch.Tensor]
    logits_to_keep: int
    cache: Cache | None
    origins: torch.Tensor | None = None


def list_parts(sweep_input: SweepInput, n_layers: int) -> list[Part]:
    """The batch of a sweep, and the batches that go on from its rows."""
    prefix, continuations = sweep_input.shared_prefix, sweep_input.continuations
    first = prefix.find_any_layer() if prefix and not sweep_input.prefilling else KeyValues()
    cache = repeat_layer(first, n_layers) if sweep_input.needs_cache else None
    parts = [Part(sweep_input.batch, sweep_input.logits_to_keep, cache)]
    if continuations:
        n_before = sweep_input.batch["attention_mask"].shape[1]
        behind = repeat_layer(KeyValues.of_length(n_before), n_layers)
        for batch, origins in zip(continuations.batches, continuations.origins, strict=True):
            parts.append(Part(batch, batch["attention_mask"].shape[1] - n_before, behind, origins))
    return parts


class BatchCall:
    """A layer with the arguments the model hands it for each part of a batch: the first part is read, and the others
    attend to its keys and values.

    Args:
        calls: one for each part.
        parts: of the batch.
        sweep_input: the batch.
    """

    def __init__(self, calls: Sequence[LayerCall], parts: Sequence[Part], sweep_input: SweepInput):
        self.calls, self.parts, self.sweep_input = calls, parts, sweep_input

    @property
    def block(self) -> nn.Module:
        """The layer."""
        return self.calls[0].block

    @property
    def shapes(self) -> tuple[object, ...]:
        """Of the arguments behind the states."""
        return tuple(call.shapes for call in self.calls)

    def run(self, streams: Sequence[States], layer_inputs: Sequence[LayerInput]) -> list[States]:
        """The layer applied to streams that are this to it: to one, or to several at once."""
        before, outputs = self._stand_before(layer_inputs), []
        for call, part, states in zip(self.calls, self.parts, zip(*streams, strict=True), strict=True):
            outputs.append(call.run(states, self._select(before, part, len(streams))))
        if self.sweep_input.prefilling and self.sweep_input.shared_prefix and before:
            self.sweep_input.shared_prefix.keep(layer_inputs, before)
        return list(zip(*outputs, strict=True))

    def _stand_before(self, layer_inputs: Sequence[LayerInput]) -> KeyValues | None:
        """Keys and values before the first part, to which the layer adds those of the part."""
        prefix: SharedPrefix | None = self.sweep_input.shared_prefix
        if prefix and not self.sweep_input.prefilling:
            return prefix.stand_before(layer_inputs, len(self.calls[0].states))
        return KeyValues() if self.sweep_input.needs_cache else None

    def _select(self, before: KeyValues | None, part: Part, n_streams: int) -> KeyValues | None:
        """Keys and values before a part, once the first has been read."""
        if before is None or part.origins is None:
            return before
        n_contexts = len(self.calls[0].states)
        return before.select_rows(torch.cat([part.origins + n_contexts * stream for stream in range(n_streams)]))
