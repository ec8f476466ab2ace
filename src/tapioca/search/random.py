"""Random plans, to be judged beside a chosen one."""

from __future__ import annotations

from math import comb

import numpy as np

from tapioca.records import Plan


def random_drops(like: Plan, count: int, seed: int) -> list[Plan]:
    """Up to `count` different random plans that drop as many layers as `like`, and are not `like`.

    Fewer where fewer exist.
    """
    rng, size = np.random.default_rng(seed), len(like.drops)
    wanted = min(count, comb(like.n_layers, size) - 1)
    found: dict[Plan, None] = {}
    while len(found) < wanted:
        drops = rng.choice(like.n_layers, size, replace=False)
        plan = Plan.drop(like.n_layers, map(int, drops))
        if plan != like:
            found[plan] = None
    return list(found)
