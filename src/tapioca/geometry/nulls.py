"""Could it be chance? Nulls for any profile: two halves of one sample, and ID and OOD examples that change places.

A *statistic* takes, for each draw, how often each example of a pool counts as seen and how often as reference, both
(draw, example), and gives one number per draw, larger for what is looked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from tapioca.geometry.alignment import deviation, removed
from tapioca.geometry.profiles import halves
from tapioca.records import Permuted

PERMUTATIONS = 999
Profiles = Callable[[np.ndarray], np.ndarray]
"""From counts (draw, example) to profiles (draw, layer): `Shape.norm_profile`, `Shape.distance_profile`, `by_draw`."""
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def deviating(profiles: Profiles) -> Statistic:
    """The deviation of what is seen from the reference."""
    return lambda seen, reference: deviation(profiles(seen), profiles(reference))


def realigning(before: Profiles, after: Profiles) -> Statistic:
    """The deviation that a plan removes from what is seen: `before` and `after` of one pool under the full model and
    under the plan, the reference under the full model."""
    return lambda seen, reference: removed(before(seen), after(seen), before(reference))


def by_draw(measure: Callable[[np.ndarray], np.ndarray], states: np.ndarray) -> Profiles:
    """Profiles of a measure that needs the states themselves, computed anew for each draw.

    Args:
        measure: from states (layer, example, width) to (layer,), for instance `effective_rank`. Where equal states
            bias it, as they do ranks and dimensions, only draws without repetition make sense.
        states: of the pool.
    """
    return lambda counts: np.stack([measure(np.repeat(states, row.astype(int), axis=1)) for row in counts])


def split_halves(statistic: Statistic, size: int, seed: int = 0, draws: int = PERMUTATIONS) -> np.ndarray:
    """The statistic between two random halves of a pool of ID examples, for a null of the same sizes.

    Args:
        statistic: over a pool of 2 `size` examples.
        size: examples in a half; as many as the sets that are judged by it.
        seed: of the splits.
        draws: how many splits.

    Returns:
        (draws,).
    """
    first = halves(size, draws, np.random.default_rng(seed))
    return statistic(first, 1 - first)


def permutation(statistic: Statistic, seen: int, reference: int, seed: int = 0, draws: int = PERMUTATIONS) -> Permuted:
    """Test whether ID and OOD examples are of one kind, by letting them change places.

    Holds its level at every sample size where examples are independent, since then any change of places is as likely
    as what was observed.

    Args:
        statistic: over a pool of the examples seen, followed by the reference.
        seen, reference: how many there are of each.
        seed: of the permutations.
        draws: how many; all of them where there are no more.
    """

    def indexed(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        members = [_members(at, seen + reference) for at in (first, second)]
        return statistic(*members).reshape(first.shape[:-1])

    places = np.arange(seen + reference)
    found = stats.permutation_test(
        (places[:seen], places[seen:]),
        indexed,
        n_resamples=draws,
        vectorized=True,
        alternative="greater",
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    null = np.asarray(found.null_distribution)
    return Permuted(
        value=float(found.statistic),
        p=float(found.pvalue),
        null_mean=float(null.mean()),
        null_upper=float(np.percentile(null, 95)),
    )


def _members(index: np.ndarray, total: int) -> np.ndarray:
    """0/1 membership of shape (draw, total) from indices of shape (..., member)."""
    rows = index.reshape(-1, index.shape[-1])
    found = np.zeros((len(rows), total))
    np.put_along_axis(found, rows, 1.0, axis=1)
    return found
