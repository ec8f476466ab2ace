"""Plans as a prefix tree: what they share is computed once."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from tapioca.plan import Plan


class Step(NamedTuple):
    """What a plan does with one layer: the scales of the whole layer and of its branches."""

    layer: float = 1.0
    attention: float = 1.0
    mlp: float = 1.0

    @property
    def dropped(self) -> bool:
        """Whether the layer is not computed at all."""
        return self.layer == 0.0

    @property
    def work(self) -> float:
        """Share of the layer that is computed; a branch counts half."""
        return 0.0 if self.dropped else 1.0 - ((self.attention == 0.0) + (self.mlp == 0.0)) / 2


Prefix = tuple[Step, ...]
"""What plans do with the first layers of the full model."""


def list_steps(plan: Plan) -> tuple[Step, ...]:
    """What a plan does with each layer of the full model."""
    tables = [dict(getattr(plan, name)) for name in Step._fields[1:]]
    layers = dict(plan.layers)
    return tuple(
        Step(layers.get(layer, 1.0), *(table.get(layer, 1.0) for table in tables)) for layer in range(plan.n_layers)
    )


def sort_by_prefix(plans: Iterable[Plan]) -> list[Plan]:
    """Distinct plans, those that share the most first layers next to each other."""
    return sorted(dict.fromkeys(plans), key=list_steps)


def intersect_drops(plans: Sequence[Plan]) -> Plan:
    """The plan that drops what all of these drop."""
    return Plan.drop(plans[0].n_layers, set.intersection(*(set(plan.drops) for plan in plans)))


@lru_cache(maxsize=64)
def count_layers_computed(plans: tuple[Plan, ...]) -> float:
    """Layers computed when plans run together and share their common beginnings; one without a branch counts half."""
    ordered = sorted(set(map(list_steps, plans)))  # neighbours share the most first layers
    total = sum(step.work for step in ordered[0]) if ordered else 0.0
    for previous_steps, current_steps in pairwise(ordered):
        shared = next(
            depth for depth, pair in enumerate(zip(previous_steps, current_steps, strict=True)) if pair[0] != pair[1]
        )
        total += sum(step.work for step in current_steps[shared:])
    return total
