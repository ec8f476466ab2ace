"""Random plans: to be judged beside a chosen one, and for the searches that begin with them."""

from collections.abc import Mapping
from math import comb, prod

import numpy as np

from tapioca.plan import Grain, Plan
from tapioca.search.base import SearchSpace, measure_size
from tapioca.search.repeats import list_repeats


def draw_random_plans(space: SearchSpace, sizes: Mapping[Grain, int], count: int) -> tuple[Plan, ...]:
    """`count` different random plans that drop so many whole layers and branches, or all where fewer exist.

    Only what the model can do without is dropped. The seed of the space decides; more plans begin with fewer.

    Args:
        space: what there is to drop.
        sizes: how many of each grain, as `Plan.sizes` has them: a plan that drops as many branches of a kind costs as
            much, so that only the choice of layers differs.
        count: how many plans.
    """
    size_by_grain = {grain: size for grain, size in sizes.items() if size}
    rng = np.random.default_rng([space.seed, sum(size_by_grain.values())])
    n_possible = prod(comb(len(space.pool(grain)), size) for grain, size in size_by_grain.items())
    plans: dict[Plan, None] = {}
    while len(plans) < min(count, n_possible):
        layers_by_grain = {
            grain: rng.choice(space.pool(grain), size, replace=False) for grain, size in size_by_grain.items()
        }
        scales = {grain: dict.fromkeys(map(int, layers), 0.0) for grain, layers in layers_by_grain.items()}
        plans[Plan(n_layers=space.n_layers, **scales)] = None
    return tuple(plans)


def draw_matched_random_plans(space: SearchSpace, plan: Plan, count: int) -> list[Plan]:
    """Random plans that drop as many layers and branches, or where the plan drops nothing repeat a block as long, and are not
    the plan; fewer where fewer exist."""
    if plan.size:
        drawn = draw_random_plans(space, plan.sizes, count + 1)
    else:
        repeats = list_repeats(space, measure_size(plan)) if plan.repeats else ()
        order = np.random.default_rng([space.seed, len(repeats)]).permutation(len(repeats))
        drawn = tuple(repeats[index] for index in order)
    return [random_plan for random_plan in drawn if random_plan != plan][:count]
