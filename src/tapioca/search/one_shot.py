"""Criteria that go by how little layers change the hidden states or the loss, or by their place; most ask for no score."""

import numpy as np

from tapioca.plan import Grain, Plan
from tapioca.profiles.layer_importance import LayerImportance
from tapioca.search.base import Picks, PlanSearch, ScoreRequest, SearchSpace, SearchSteps, rank_plans


def drop_lowest(measure: str) -> PlanSearch:
    """Drop the layers of lowest `measure`, a field of `LayerImportance` with one number per layer."""

    def steps(space: SearchSpace) -> SearchSteps:
        yield from ()  # nothing is scored
        values: np.ndarray = getattr(_similarity(space), measure)
        order = sorted(space.droppable, key=lambda layer: values[layer])
        return {size: Plan.drop(space.n_layers, order[:size]) for size in space.layer_sizes}

    return steps


def drop_by_effect(*grains: Grain) -> PlanSearch:
    """Drop the layers, or branches, whose drops would help most, or harm least, to first order."""

    def steps(space: SearchSpace) -> SearchSteps:
        yield from ()  # nothing is scored
        ranked, picks = rank_by_effect(space, *grains), {}
        for size in (size for size in space.sizes if size <= len(ranked)):
            scales = {grain: {layer: 0.0 for kind, layer in ranked[:size] if kind == grain} for grain in grains}
            picks[size] = Plan(n_layers=space.n_layers, **scales)
        return picks

    return steps


def rank_by_effect(space: SearchSpace, *grains: Grain) -> list[tuple[Grain, int]]:
    """What can be dropped, with its layer, the best to first order first; equal ones from the lowest layer on."""
    assert space.drop_effects is not None, "measured before any criterion that needs it"
    effects = space.drop_effects
    drops = [(grain, layer) for layer in range(space.n_layers) for grain in grains if layer in space.pool(grain)]
    return sorted(drops, key=lambda drop: -effects[drop[0]][drop[1]])


def drop_contiguous(space: SearchSpace) -> SearchSteps:
    """Drop the block of neighbouring layers whose input and output have the smallest angular distance."""
    yield from ()  # nothing is scored
    angles, picks = _similarity(space).angles, {}
    for size in space.sizes:
        if starts := _list_block_starts(space, size):
            first = min(starts, key=lambda start: angles[start, start + size])
            picks[size] = Plan.drop(space.n_layers, range(first, first + size))
    return picks


def drop_best_block(space: SearchSpace) -> SearchSteps:
    """Drop the block of neighbouring layers that scores best, of all of its size; of equals the lowest."""
    picks: Picks = {}
    for size in space.sizes:
        starts = _list_block_starts(space, size)
        if plans := tuple(Plan.drop(space.n_layers, range(first, first + size)) for first in starts):
            picks[size] = rank_plans(plans, (yield ScoreRequest(plans)))[0]
    return picks


def _list_block_starts(space: SearchSpace, size: int) -> list[int]:
    """The first layers of all blocks of a size that can be dropped."""
    return [start for start in space.droppable if set(range(start, start + size)) <= set(space.droppable)]


def drop_last(space: SearchSpace) -> SearchSteps:
    """Drop the last layers."""
    yield from ()  # nothing is scored
    return {size: Plan.drop(space.n_layers, space.droppable[-size:]) for size in space.layer_sizes}


def _similarity(space: SearchSpace) -> LayerImportance:
    assert space.similarity is not None, "measured before any criterion that needs it"
    return space.similarity
