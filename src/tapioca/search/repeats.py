"""The search for a block of layers that is better run twice; nothing is dropped."""

from tapioca.plan import Plan
from tapioca.search.base import Picks, ScoreRequest, SearchSpace, SearchSteps, rank_plans


def search_repeats(space: SearchSpace) -> SearchSteps:
    """The best block of each length up to half of the layers; of equals the first.

    Every block is tried: of K layers about 3K²/8, each in a pass of its own, since a plan that repeats layers shares none.
    """
    picks: Picks = {}
    for length in (size for size in space.sizes if size <= max(1, space.n_layers // 2)):
        if plans := list_repeats(space, length):
            picks[length] = rank_plans(plans, (yield ScoreRequest(plans)))[0]
    return picks


def list_repeats(space: SearchSpace, length: int) -> tuple[Plan, ...]:
    """All plans that repeat one block of so many neighbouring layers, the lowest first."""
    blocks = [(first, first + length - 1) for first in range(space.n_layers - length + 1)]
    repeatable = set(space.repeatable)
    return tuple(
        Plan(n_layers=space.n_layers, repeats=((first, last),))
        for first, last in blocks
        if repeatable.issuperset(range(first, last + 1))
    )
