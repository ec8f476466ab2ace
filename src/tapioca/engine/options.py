"""What streams are made of, and how they go through the layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tapioca.engine.contexts import Continuations
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.state_cache import BatchStates
from tapioca.plan.prefix_tree import Prefix
from tapioca.records import ComputeCost

OnStates = Callable[[Prefix, torch.Tensor], None]
"""Handed the states after a layer that is computed, (batch, token, width), and what was done with the full model's
layers up to it. What is handed over again replaces what came before."""


@dataclass(frozen=True)
class SweepInput:
    """What goes through the layers.

    Attributes:
        batch: from `collate`, or from `SharedPrefix.collate_rest` for what follows an opening.
        logits_to_keep: number of last positions whose outputs are wanted.
        name: of the batch, by which states are reused.
        shared_prefix: what stands before every row.
        prefilling: whether the batch is that opening itself.
        continuations: what goes on from rows of the batch.
    """

    batch: dict[str, torch.Tensor]
    logits_to_keep: int
    name: str = ""
    shared_prefix: SharedPrefix | None = None
    prefilling: bool = False
    continuations: Continuations | None = None

    @property
    def needs_cache(self) -> bool:
        """Whether attention has to be handed, or to hand on, keys and values."""
        return self.shared_prefix is not None or bool(self.continuations and self.continuations.batches)

    def gather(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The outputs of all rows that were asked for, from those of the batch and of each that goes on from it."""
        return self.continuations.gather(outputs) if self.continuations else outputs[0]


@dataclass(frozen=True)
class SweepOptions:
    """How streams go through the layers.

    Attributes:
        stacked: several at once.
        batch_states: states of this batch that need not be computed again, and where to keep those met on the way.
        cost: told what was computed.
        on_states: handed the states after every layer of every stream.
    """

    stacked: bool
    batch_states: BatchStates | None
    cost: ComputeCost
    on_states: OnStates | None = None
