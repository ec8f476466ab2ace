"""What streams are made of, how they go through the layers, and what that took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tapioca.models.known import Known
from tapioca.models.opening import Opening
from tapioca.records import Plan

Reader = Callable[[int, torch.Tensor, Sequence[Plan]], None]
"""Told a layer, the states after it (batch, token, width), and the plans under which they are the states there."""


@dataclass
class Count:
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
class Feed:
    """What goes through the layers.

    Attributes:
        batch: from `collate`, or from `Opening.batch` for what follows an opening.
        keep: number of last positions whose outputs are wanted.
        opening: what stands before every row.
        taking: whether the batch is that opening itself.
    """

    batch: dict[str, torch.Tensor]
    keep: int
    opening: Opening | None = None
    taking: bool = False


@dataclass(frozen=True)
class Means:
    """How streams go through the layers.

    Attributes:
        stacked: several at once.
        known: states of this batch that need not be computed again, and where to keep those met on the way.
        count: told what was computed.
        read: told every state after a layer; maybe more than once where a pass is begun again.
    """

    stacked: bool
    known: Known | None
    count: Count
    read: Reader | None = None
