"""Searches over many plans of one size: every plan, random plans, and evolution."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import combinations

import numpy as np

from tapioca.errors import UsageError
from tapioca.records import Plan
from tapioca.search.base import Picks, Question, Space, Steps, ranked
from tapioca.search.random import random_plans

MOST_LAYERS = 12
GENERATIONS, OFFSPRING, SURVIVORS, FIRST_SHARE = 10, 16, 4, 0.25


def exhaustive(space: Space) -> Steps:
    """The best of all plans of each size.

    Raises:
        UsageError: the model has more than `MOST_LAYERS` layers.
    """
    if space.n_layers > MOST_LAYERS:
        raise UsageError(f"exhaustive search is for at most {MOST_LAYERS} layers, this model has {space.n_layers}")
    found: Picks = {}
    for size in space.sizes:
        asked = every_plan(space, size)
        found[size] = ranked(asked, (yield Question(asked)))[0]
    return found


def every_plan(space: Space, size: int) -> tuple[Plan, ...]:
    """All plans that drop so many whole layers, the lowest layers first."""
    return tuple(Plan.drop(space.n_layers, drops) for drops in combinations(space.droppable, size))


def random(space: Space) -> Steps:
    """The best of a few random plans of each size."""
    found: Picks = {}
    for size in space.sizes:
        asked = random_plans(space, {"layers": size}, space.repeats)
        if asked:
            found[size] = ranked(asked, (yield Question(asked)))[0]
    return found


def evolution(space: Space) -> Steps:
    """Evolutionary search after EvoPress (arXiv 2410.14649, Algorithm 1), for each size on its own.

    The parent of the first generation is the best of a few random plans. Each generation makes offspring by swapping
    dropped with kept layers, scores them on a share of the data, and lets the best of them and the parent compete on
    all of it.
    """
    found: Picks = {}
    for size in space.sizes:
        rng = np.random.default_rng([space.seed, size])
        parent = yield from _select(random_plans(space, {"layers": size}, OFFSPRING), ())
        for _ in range(GENERATIONS):
            children = dict.fromkeys(mutated(space, parent, rng) for _ in range(OFFSPRING))
            children.pop(parent, None)
            if children:
                parent = yield from _select(tuple(children), (parent,))
        found[size] = parent
    return found


def _select(offspring: tuple[Plan, ...], parents: tuple[Plan, ...]) -> Generator[Question, Sequence[float], Plan]:
    """The winner: the best on a share of the data meet the parents on all of it."""
    first = ranked(offspring, (yield Question(offspring, FIRST_SHARE)))[:SURVIVORS]
    final = (*parents, *first)
    return ranked(final, (yield Question(final)))[0]


def mutated(space: Space, plan: Plan, rng: np.random.Generator) -> Plan:
    """Swap one dropped layer with a kept one, or with probability 1/4 two, as in EvoPress."""
    kept = [layer for layer in space.droppable if layer not in plan.drops]
    count = min(*rng.integers(1, 3, 2), len(plan.drops), len(kept))
    out = rng.choice(plan.drops, count, replace=False)
    into = rng.choice(kept, count, replace=False)
    return Plan.drop(space.n_layers, {*plan.drops, *map(int, into)} - set(map(int, out)))
