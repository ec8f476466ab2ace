"""Searches that drop one layer or branch after another: greedy, beam, and swaps on top of greedy."""

from __future__ import annotations

from collections.abc import Callable

from tapioca.records import BranchName, Plan
from tapioca.search.base import Choose, Picks, Question, Space, Steps, ranked

BEAM = 4

Moves = Callable[[Space, Plan], list[Plan]]


def layer_drops(space: Space, plan: Plan) -> list[Plan]:
    """Every plan that drops one more whole layer."""
    further = (layer for layer in space.droppable if layer not in plan.drops)
    return [Plan.drop(space.n_layers, (*plan.drops, layer)) for layer in further]


def branch_drops(*names: BranchName) -> Moves:
    """Every plan that drops one more branch of the given kinds; the lowest layer comes first."""

    def moves(space: Space, plan: Plan) -> list[Plan]:
        free = [
            (layer, name)
            for layer in range(space.n_layers)
            for name in names
            if layer in space.branches.get(name, ()) and layer not in dict(getattr(plan, name))
        ]
        return [plan.compose(Plan.scale(space.n_layers, {layer: 0.0}, name)) for layer, name in free]

    return moves


def greedy(moves: Moves = layer_drops) -> Choose:
    """Drop what costs the score least, again and again; equal scores go to the lowest layer.

    This is Algorithm 1 of TALE (arXiv 2510.22767) and of SLEB (arXiv 2402.09025), which differ in the score, run to a
    fixed number of drops instead of to a threshold.
    """
    return beam(moves, width=1)


def beam(moves: Moves = layer_drops, width: int = BEAM) -> Choose:
    """Greedy that keeps the best `width` plans of every size, not only the best."""

    def steps(space: Space) -> Steps:
        found: Picks = {}
        plans = [Plan.full(space.n_layers)]
        for size in range(1, max(space.sizes) + 1):
            asked = tuple(dict.fromkeys(after for plan in plans for after in moves(space, plan)))
            if not asked:
                break
            plans = ranked(asked, (yield Question(asked)))[:width]
            found[size] = plans[0]
        return {size: plan for size, plan in found.items() if size in space.sizes}

    return steps


def swap(space: Space) -> Steps:
    """Greedy, then for each size swap a dropped layer with a kept one for as long as the best swap scores better.

    What layers do depends on what else is dropped, so greedy's early drops may be wrong later on.
    """
    found = yield from greedy()(space)
    for size, plan in found.items():
        (score,) = yield Question((plan,))
        while asked := swaps(space, plan):
            scores = yield Question(asked)
            if max(scores) <= score:
                break
            plan, score = ranked(asked, scores)[0], max(scores)
        found[size] = plan
    return found


def swaps(space: Space, plan: Plan) -> tuple[Plan, ...]:
    """Every plan that keeps one layer of the dropped and drops one of the kept instead."""
    kept = [layer for layer in space.droppable if layer not in plan.drops]
    return tuple(
        Plan.drop(space.n_layers, {*plan.drops, inside} - {outside}) for outside in plan.drops for inside in kept
    )
