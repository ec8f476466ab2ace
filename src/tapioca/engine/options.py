"""What streams are made of, how they go through the layers, and what that took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.state_cache import BatchStates
from tapioca.plan.prefix_tree import Prefix

OnStates = Callable[[Prefix, torch.Tensor], None]
"""Handed the states after a layer that is computed, (batch, token, width), and what was done with the full model's
layers up to it. What is handed over again replaces what came before."""


@dataclass
class ComputeCount:
    """What was computed in all streams; a layer without a branch counts half.

    Attributes:
        layers: one layer for one row counts one.
        tokens: one layer for one token counts one, padding included.
        difference: the largest found between a layer's states for stacked streams and for one of them alone, as a
            share of the largest state; None where nothing was stacked.
    """

    layers: float = 0.0
    tokens: float = 0.0
    difference: float | None = None

    def add(self, rows: int, tokens: int, layers: float) -> None:
        """So many layers were computed for a batch of this shape."""
        self.layers += layers * rows
        self.tokens += layers * rows * tokens


@dataclass(frozen=True)
class SweepInput:
    """What goes through the layers.

    Attributes:
        batch: from `collate`, or from `SharedPrefix.batch` for what follows an opening.
        logits_to_keep: number of last positions whose outputs are wanted.
        shared_prefix: what stands before every row.
        prefilling: whether the batch is that opening itself.
    """

    batch: dict[str, torch.Tensor]
    logits_to_keep: int
    shared_prefix: SharedPrefix | None = None
    prefilling: bool = False


@dataclass(frozen=True)
class SweepOptions:
    """How streams go through the layers.

    Attributes:
        stacked: several at once.
        batch_states: states of this batch that need not be computed again, and where to keep those met on the way.
        count: told what was computed.
        on_states: handed the states after every layer of every stream.
    """

    stacked: bool
    batch_states: BatchStates | None
    count: ComputeCount
    on_states: OnStates | None = None
