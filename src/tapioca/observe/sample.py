"""Which examples stand for the geometry of a model on ID and OOD data, drawn alike in every command.

Commands observe held-out examples (`draw_held_out`); those that set realignment against held-out gains, `enumerate` and a
study, take OOD examples of the search split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.tasks.base import Task

MAX_EXAMPLES = 512
"""Most examples whose states are kept; the number of pairs grows with its square."""


@dataclass(frozen=True, eq=False)
class GeometrySample:
    """Equally many examples of three sets, at most one of a group, in a fixed order.

    Attributes:
        reference: ID examples that the others are compared with under the full model.
        id: other ID examples; halves of both together make the null (`profiles.deviation.measure_null`).
        ood: OOD examples.
    """

    reference: tuple[Example, ...]
    id: tuple[Example, ...]
    ood: tuple[Example, ...]

    @classmethod
    def draw(cls, reference: Task, other_id: Task, ood: Task, seed: int, most: int = MAX_EXAMPLES) -> Self:
        """Draw from each task as many as all of them have groups for."""
        tasks = (reference, other_id, ood)
        size = min(most, *(len(set(task.groups)) for task in tasks))
        return cls(*(draw_sample(task.examples, size, seed) for task in tasks))

    @classmethod
    def draw_held_out(cls, search: Mapping[Domain, Task], test: Mapping[Domain, Task], seed: int) -> Self:
        """The reference from the ID search split, the others from the test splits, which no search has seen."""
        return cls.draw(search["id"], test["id"], test["ood"], seed)

    @property
    def size(self) -> int:
        """Examples of each set."""
        return len(self.reference)

    @property
    def pool(self) -> tuple[Example, ...]:
        """The reference, then the other ID examples."""
        return (*self.reference, *self.id)


def draw_sample(examples: Sequence[Example], size: int, seed: int) -> tuple[Example, ...]:
    """A seeded sample in a fixed order, the same for every plan: at most one example of a group, so that they are independent."""
    order = np.random.default_rng(seed).permutation(len(examples))
    first_of_group = {examples[index].group: index for index in reversed(order)}
    chosen = [index for index in order if first_of_group[examples[index].group] == index][:size]
    return tuple(examples[index] for index in sorted(chosen))
