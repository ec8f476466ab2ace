"""Criteria that ask for no score: by how little layers change the hidden states, or by their place alone."""

from __future__ import annotations

import numpy as np

from tapioca.geometry.similarity import Similarity
from tapioca.records import Plan
from tapioca.search.base import Choose, Space, Steps


def lowest(measure: str) -> Choose:
    """Drop the layers of lowest `measure`, a field of `Similarity` with one number per layer."""

    def steps(space: Space) -> Steps:
        yield from ()  # nothing is scored
        values: np.ndarray = getattr(_similarity(space), measure)
        order = sorted(space.droppable, key=lambda layer: values[layer])
        return {size: Plan.drop(space.n_layers, order[:size]) for size in space.sizes}

    return steps


def contiguous(space: Space) -> Steps:
    """Drop the block of neighbouring layers whose input and output have the smallest angular distance."""
    yield from ()  # nothing is scored
    angles, found = _similarity(space).angles, {}
    for size in space.sizes:
        starts = [at for at in space.droppable if set(range(at, at + size)) <= set(space.droppable)]
        if starts:
            first = min(starts, key=lambda at: angles[at, at + size])
            found[size] = Plan.drop(space.n_layers, range(first, first + size))
    return found


def last(space: Space) -> Steps:
    """Drop the last layers."""
    yield from ()  # nothing is scored
    return {size: Plan.drop(space.n_layers, space.droppable[-size:]) for size in space.sizes}


def _similarity(space: Space) -> Similarity:
    assert space.similarity is not None, "measured before any criterion that needs it"
    return space.similarity
