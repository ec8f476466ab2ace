"""Hidden states kept from one sweep for the next: what a search computed in one round it need not compute again."""

from collections import Counter
from collections.abc import Collection

import torch

from tapioca.engine.speculative import DraftStore
from tapioca.plan.prefix_tree import Prefix, Step


class BatchStates:
    """States of one batch after the first layers of plans.

    Every so-many-th depth is kept for all plans that run, as densely as the room allows; what no plan begins with any
    more is forgotten. The states are those that would be computed anew, so no answer changes.

    Args:
        max_bytes: most bytes to keep.

    Attributes:
        states: by what was done with the first layers of the full model: `States` of the batch.
        depths: numbers of layers after which states are to be kept.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.states: dict[Prefix, tuple[torch.Tensor, ...]] = {}
        self.depths: Collection[int] = ()

    def prepare(self, step_sequences: Collection[tuple[Step, ...]], size: int) -> None:
        """Make ready for the steps of every plan, each of whose states take `size` bytes: forget what they do not begin
        with, and choose the depths to keep."""
        layers = max(map(len, step_sequences))
        wanted_prefixes = {plan[:depth] for plan in step_sequences for depth in range(1, layers)}
        self.states = {prefix: states for prefix, states in self.states.items() if prefix in wanted_prefixes}
        n_new_by_depth = Counter(map(len, wanted_prefixes - self.states.keys()))
        n_free = self.max_bytes // size - len(self.states)
        spacings = (range(step, layers, step) for step in range(1, layers))
        fitting = (depths for depths in spacings if sum(n_new_by_depth[depth] for depth in depths) <= n_free)
        self.depths = next(fitting, ())

    def find_deepest(self, plan_steps: tuple[Step, ...]) -> int:
        """After how many layers the deepest known states of a plan are; 0 where there are none."""
        return next((depth for depth in range(len(plan_steps) - 1, 0, -1) if plan_steps[:depth] in self.states), 0)


class StateCache:
    """What is known of every batch of a task.

    Args:
        max_bytes: most to keep for all batches together.
        batches: how many there are.

    Attributes:
        drafts: what plans wrote for these batches.
    """

    def __init__(self, max_bytes: int, batches: int):
        self._max_bytes = max_bytes // batches
        self._states_by_batch: dict[str, BatchStates] = {}
        self.drafts = DraftStore(batches)

    def states_of(self, batch: str) -> BatchStates:
        """What is known of the batch of this digest."""
        return self._states_by_batch.setdefault(batch, BatchStates(self._max_bytes))

    def clear(self) -> None:
        """Give back all that was kept, and keep nothing from now on: the memory is needed."""
        self._max_bytes = 0
        self._states_by_batch.clear()
