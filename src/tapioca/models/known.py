"""Hidden states kept from one sweep for the next: what a search computed in one round it need not compute again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import torch

from tapioca.models.drafts import Drafts
from tapioca.records.tree import Prefix, Step


class Known:
    """States of one batch after the first layers of plans.

    Every so-many-th depth is kept for all plans that run, as densely as the room allows; what no plan begins with any
    more is forgotten. The states are those that would be computed anew, so no answer changes.

    Args:
        room: most bytes to keep.

    Attributes:
        states: by what was done with the first layers of the full model: (batch, token, width).
        depths: numbers of layers after which states are to be kept.
    """

    def __init__(self, room: int):
        self.room = room
        self.states: dict[Prefix, torch.Tensor] = {}
        self.depths: Collection[int] = ()

    def prepare(self, said: Collection[tuple[Step, ...]], size: int) -> None:
        """Make ready for plans: forget what they do not begin with, and choose the depths to keep.

        Args:
            said: the steps of every plan.
            size: bytes of one plan's states.
        """
        layers = max(map(len, said))
        wanted = {plan[:depth] for plan in said for depth in range(1, layers)}
        self.states = {prefix: states for prefix, states in self.states.items() if prefix in wanted}
        new = Counter(map(len, wanted - self.states.keys()))
        free = self.room // size - len(self.states)
        spacings = (range(step, layers, step) for step in range(1, layers))
        self.depths = next((depths for depths in spacings if sum(new[depth] for depth in depths) <= free), ())

    def depth(self, said: tuple[Step, ...]) -> int:
        """After how many layers the deepest known states of a plan are; 0 where there are none."""
        return next((depth for depth in range(len(said) - 1, 0, -1) if said[:depth] in self.states), 0)


class Reuse:
    """What is known of every batch of a task.

    Args:
        room: most bytes to keep for all batches together.
        batches: how many there are.

    Attributes:
        drafts: what plans wrote for these batches.
    """

    def __init__(self, room: int, batches: int):
        self._room = room // batches
        self._known: dict[str, Known] = {}
        self.drafts = Drafts(batches)

    def of(self, batch: str) -> Known:
        """What is known of the batch of this digest."""
        return self._known.setdefault(batch, Known(self._room))

    def forget(self) -> None:
        """Give back all that was kept, and keep nothing from now on: the memory is needed."""
        self._room = 0
        self._known.clear()
