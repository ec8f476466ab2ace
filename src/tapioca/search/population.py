"""Searches over many plans of one size: every plan, random plans, and evolution."""

from collections.abc import Generator, Sequence
from itertools import combinations

import numpy as np

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.search.base import Picks, ScoreRequest, SearchSpace, SearchSteps, rank_plans
from tapioca.search.random import draw_random_plans

MAX_LAYERS = 12
GENERATIONS, OFFSPRING, SURVIVORS, FIRST_SHARE = 10, 16, 4, 0.25


def search_exhaustively(space: SearchSpace) -> SearchSteps:
    """The best of all plans of each size.

    Raises:
        UsageError: the model has more than `MAX_LAYERS` layers.
    """
    if space.n_layers > MAX_LAYERS:
        raise UsageError(f"exhaustive search is for at most {MAX_LAYERS} layers, this model has {space.n_layers}")
    picks: Picks = {}
    for size in space.layer_sizes:
        plans = list_all_plans(space, size)
        picks[size] = rank_plans(plans, (yield ScoreRequest(plans)))[0]
    return picks


def list_all_plans(space: SearchSpace, size: int) -> tuple[Plan, ...]:
    """All plans that drop so many whole layers, the lowest layers first."""
    return tuple(Plan.drop(space.n_layers, drops) for drops in combinations(space.droppable, size))


def search_randomly(space: SearchSpace) -> SearchSteps:
    """The best of a few random plans of each size."""
    picks: Picks = {}
    for size in space.sizes:
        if plans := draw_random_plans(space, {"layers": size}, space.repeats):
            picks[size] = rank_plans(plans, (yield ScoreRequest(plans)))[0]
    return picks


def search_by_evolution(space: SearchSpace) -> SearchSteps:
    """Evolutionary search after EvoPress (arXiv 2410.14649, Algorithm 1), for each size on its own.

    The parent of the first generation is the best of a few random plans. Each generation makes offspring by swapping
    dropped with kept layers, scores them on a share of the data, and lets the best of them and the parent compete on
    all of it.
    """
    picks: Picks = {}
    for size in space.layer_sizes:
        rng = np.random.default_rng([space.seed, size])
        parent = yield from _select_winner(draw_random_plans(space, {"layers": size}, OFFSPRING), ())
        for _ in range(GENERATIONS):
            children = dict.fromkeys(mutate_plan(space, parent, rng) for _ in range(OFFSPRING))
            children.pop(parent, None)
            if children:
                parent = yield from _select_winner(tuple(children), (parent,))
        picks[size] = parent
    return picks


def _select_winner(
    offspring: tuple[Plan, ...], parents: tuple[Plan, ...]
) -> Generator[ScoreRequest, Sequence[float], Plan]:
    """The winner: the best on a share of the data meet the parents on all of it."""
    survivors = rank_plans(offspring, (yield ScoreRequest(offspring, FIRST_SHARE)))[:SURVIVORS]
    finalists = (*parents, *survivors)
    return rank_plans(finalists, (yield ScoreRequest(finalists)))[0]


def mutate_plan(space: SearchSpace, plan: Plan, rng: np.random.Generator) -> Plan:
    """Swap one dropped layer with a kept one, or with probability 1/4 two, as in EvoPress."""
    kept_layers = [layer for layer in space.droppable if layer not in plan.drops]
    n_swaps = min(*rng.integers(1, 3, 2), len(plan.drops), len(kept_layers))
    restored_layers = rng.choice(plan.drops, n_swaps, replace=False)
    dropped_layers = rng.choice(kept_layers, n_swaps, replace=False)
    return Plan.drop(space.n_layers, {*plan.drops, *map(int, dropped_layers)} - set(map(int, restored_layers)))
