"""Searches that drop one layer or branch after another: greedy, beam, and swaps on top of greedy."""

from collections.abc import Callable

from tapioca.plan import BranchName, Plan
from tapioca.search.base import Picks, PlanSearch, ScoreRequest, SearchSpace, SearchSteps, rank_plans
from tapioca.search.one_shot import rank_by_effect

BEAM_WIDTH = 4

Moves = Callable[[SearchSpace, Plan], list[Plan]]


def list_layer_drops(space: SearchSpace, plan: Plan) -> list[Plan]:
    """Every plan that drops one more whole layer."""
    droppable_layers = (layer for layer in space.droppable if layer not in plan.drops)
    return [Plan.drop(space.n_layers, (*plan.drops, layer)) for layer in droppable_layers]


def list_branch_drops(*names: BranchName) -> Moves:
    """Every plan that drops one more branch of the given kinds; the lowest layer comes first."""

    def moves(space: SearchSpace, plan: Plan) -> list[Plan]:
        free_branches = [
            (layer, name)
            for layer in range(space.n_layers)
            for name in names
            if layer in space.branches.get(name, ()) and layer not in dict(getattr(plan, name))
        ]
        return [plan.compose(Plan.scale(space.n_layers, {layer: 0.0}, name)) for layer, name in free_branches]

    return moves


def greedy(moves: Moves = list_layer_drops) -> PlanSearch:
    """Drop what costs the score least, again and again; equal scores go to the lowest layer.

    This is Algorithm 1 of TALE (arXiv 2510.22767) and of SLEB (arXiv 2402.09025), which differ in the score, run to a
    fixed number of drops instead of to a threshold.
    """
    return beam(moves, width=1)


def beam(moves: Moves = list_layer_drops, width: int = BEAM_WIDTH) -> PlanSearch:
    """Greedy that keeps the best `width` plans of every size, not only the best."""

    def steps(space: SearchSpace) -> SearchSteps:
        picks: Picks = {}
        plans = [Plan.full(space.n_layers)]
        for size in range(1, max(space.sizes, default=0) + 1):
            candidates = tuple(dict.fromkeys(next_plan for plan in plans for next_plan in moves(space, plan)))
            if not candidates:
                break
            plans = rank_plans(candidates, (yield ScoreRequest(candidates)))[:width]
            picks[size] = plans[0]
        return {size: plan for size, plan in picks.items() if size in space.sizes}

    return steps


def greedy_of_shortlist(count: int) -> PlanSearch:
    """Greedy that scores, of each round's drops, the `count` that look best: to first order in the first round, then those
    that the rounds before ranked first, the latest round first of all.

    What is left out is never looked at, so a round may miss its best drop; with a count of all layers this is `greedy`.
    """

    def steps(space: SearchSpace) -> SearchSteps:
        order = [layer for _, layer in rank_by_effect(space, "layers")]
        plan, picks = Plan.full(space.n_layers), Picks()
        for size in range(1, max(space.layer_sizes, default=0) + 1):
            layers = sorted(order[:count])
            layer_by_plan = {Plan.drop(space.n_layers, (*plan.drops, layer)): layer for layer in layers}
            candidates = tuple(layer_by_plan)
            ranked = rank_plans(candidates, (yield ScoreRequest(candidates)))
            plan = picks[size] = ranked[0]
            order = [*(layer_by_plan[candidate] for candidate in ranked[1:]), *order[count:]]
        return {size: plan for size, plan in picks.items() if size in space.sizes}

    return steps


def greedy_with_swaps(space: SearchSpace) -> SearchSteps:
    """Greedy, then for each size swap a dropped layer with a kept one for as long as the best swap scores better.

    What layers do depends on what else is dropped, so greedy's early drops may be wrong later on.
    """
    picks = yield from greedy()(space)
    for size, plan in picks.items():
        (score,) = yield ScoreRequest((plan,))
        while candidates := list_swaps(space, plan):
            scores = yield ScoreRequest(candidates)
            if max(scores) <= score:
                break
            plan, score = rank_plans(candidates, scores)[0], max(scores)
        picks[size] = plan
    return picks


def list_swaps(space: SearchSpace, plan: Plan) -> tuple[Plan, ...]:
    """Every plan that keeps one layer of the dropped and drops one of the kept instead."""
    kept_layers = [layer for layer in space.droppable if layer not in plan.drops]
    return tuple(
        Plan.drop(space.n_layers, {*plan.drops, kept_layer} - {dropped_layer})
        for dropped_layer in plan.drops
        for kept_layer in kept_layers
    )
