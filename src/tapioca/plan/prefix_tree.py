"""Plans as a prefix tree: what they share is computed once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from tapioca.plan.arrays import HashedArray
from tapioca.plan.plan import Plan
from tapioca.plan.tables import Tokens

NO_MAP = HashedArray("")


class Step(NamedTuple):
    """What a plan does with one layer.

    Attributes:
        layer, attention, mlp: scales of the whole layer and of its branches.
        factor: of the stream in front of it.
        mlp_map: of what its MLP branch adds; `NO_MAP` changes nothing.
        norm: that the stream in front of it is given; 0 leaves it as it is.
        norm_tokens: at which tokens.
        block: the block that begins with it and is repeated, by its last layer; -1 where there is none.
    """

    layer: float = 1.0
    attention: float = 1.0
    mlp: float = 1.0
    factor: float = 1.0
    mlp_map: HashedArray = NO_MAP
    norm: float = 0.0
    norm_tokens: Tokens = "all"
    block: int = -1

    @property
    def dropped(self) -> bool:
        """Whether the layer is not computed at all."""
        return self.layer == 0.0

    @property
    def work(self) -> float:
        """Share of the layer that is computed; a branch counts half."""
        return 0.0 if self.dropped else 1.0 - ((self.attention == 0.0) + (self.mlp == 0.0)) / 2


FULL_STEP = Step()
_make_step = lru_cache(Step)

Prefix = tuple[Step, ...]
"""What plans do with the first layers of the full model."""

LayerInput = tuple[Prefix, float]
"""What decides what a layer reads: what plans do with the layers before, and the factor of the stream in front of it. Plans
that do more to what layers read run alone."""


def list_steps(plan: Plan) -> tuple[Step, ...]:
    """What a plan does with each layer of the full model."""
    changes = dict(_list_changes(plan))
    return tuple(changes.get(layer, FULL_STEP) for layer in range(plan.n_layers))


def describe_layer_input(steps: Sequence[Step], layer: int) -> LayerInput:
    """What a plan of these steps does before a layer reads the stream."""
    return tuple(steps[:layer]), steps[layer].factor


def sort_by_prefix(plans: Iterable[Plan]) -> list[Plan]:
    """Distinct plans, those that share the most first layers next to each other."""
    return sorted(dict.fromkeys(plans), key=list_steps)


def intersect_drops(plans: Sequence[Plan]) -> Plan:
    """The plan that drops what all of these drop."""
    return Plan.drop(plans[0].n_layers, set.intersection(*(set(plan.drops) for plan in plans)))


@lru_cache(maxsize=64)
def count_layers_computed(plans: tuple[Plan, ...]) -> float:
    """Layers computed when plans run together and share their common beginnings; one without a branch counts half.

    It walks over what plans change alone, so that counting plans of few drops costs as little in a model of many layers.
    """
    alone = sum(count_layers_alone(plan) for plan in dict.fromkeys(plans) if plan.runs_alone)
    together = [plan for plan in plans if not plan.runs_alone]
    return alone + (_count_layers_together(together) if together else 0.0)


def count_layers_alone(plan: Plan) -> float:
    """Layers computed for one plan by itself; one without a branch counts half."""
    steps = list_steps(plan)
    return sum(steps[layer].work for layer in plan.order)


def _count_layers_together(plans: Sequence[Plan]) -> float:
    """Layers computed for plans that share their common beginnings."""
    n_layers = plans[0].n_layers
    ordered = sorted((*_list_changes(plan), (n_layers, FULL_STEP)) for plan in plans)  # neighbours share the most
    total = _count_work(ordered[0], 0, n_layers)
    for previous_changes, current_changes in pairwise(ordered):
        if previous_changes != current_changes:
            [(first, _), (other, _)] = next(
                pair for pair in zip(previous_changes, current_changes, strict=False) if pair[0] != pair[1]
            )
            total += _count_work(current_changes, min(first, other), n_layers)
    return total


def _list_changes(plan: Plan) -> tuple[tuple[int, Step], ...]:
    """The layers with which a plan does something, ascending, and what."""
    if plan.only_scales_layers:
        return tuple((layer, _make_step(scale)) for layer, scale in plan.layers)
    pairs_by_field: dict[str, Iterable[tuple[int, Any]]] = {
        "layer": plan.layers,
        "attention": plan.attention,
        "mlp": plan.mlp,
        "factor": plan.factors,
        "mlp_map": plan.maps,
        "block": plan.repeats,
        "norm": plan.norms,
        "norm_tokens": ((layer, plan.norm_tokens) for layer, _ in plan.norms),
    }
    changes: dict[int, dict[str, Any]] = defaultdict(dict)
    for field, pairs in pairs_by_field.items():
        for layer, entry in pairs:
            changes[layer][field] = entry
    return tuple((layer, _make_step(**changes[layer])) for layer in sorted(changes))


def _count_work(changes: Iterable[tuple[int, Step]], first_layer: int, n_layers: int) -> float:
    """Layers computed from one layer on."""
    return n_layers - first_layer - sum(1.0 - step.work for layer, step in changes if layer >= first_layer)
