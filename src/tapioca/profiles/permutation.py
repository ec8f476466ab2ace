"""Could it be chance? Permutation tests of any profile: ID and OOD examples change places.

A *statistic* takes, for each draw, how often each example of a pool counts as seen and how often as reference, both
(draw, example), and gives one number per draw, (..., draw), larger for what is looked for.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

from tapioca.profiles.deviation import mean_deviation, removed_deviation
from tapioca.records import PermutationTest

PERMUTATIONS = 999
Profiles = Callable[[np.ndarray], np.ndarray]
"""From counts (draw, example) to profiles (..., draw, layer): `StateGeometry.profiles` or one of its `profile_functions`,
`profiles_by_draw`."""
Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


def deviation_statistic(profiles: Profiles) -> Statistic:
    """The deviation of what is seen from the reference."""
    return lambda seen_counts, reference_counts: mean_deviation(profiles(seen_counts), profiles(reference_counts))


def realignment_statistic(before: Profiles, after: Profiles) -> Statistic:
    """The deviation that a plan removes from what is seen: `before` and `after` of one pool under the full model and
    under the plan, the reference under the full model."""
    return lambda seen_counts, reference_counts: removed_deviation(
        before(seen_counts), after(seen_counts), before(reference_counts)
    )


def profiles_by_draw(measure: Callable[[np.ndarray], np.ndarray], states: np.ndarray) -> Profiles:
    """Profiles of a measure that needs the states themselves, computed anew for each draw.

    Args:
        measure: from states (layer, example, width) to (layer,), for instance `effective_rank`. Where equal states
            bias it, as they do ranks and dimensions, only draws without repetition make sense.
        states: of the pool.
    """
    return lambda counts: np.stack([measure(np.repeat(states, row.astype(int), axis=1)) for row in counts])


def run_permutation_test(
    statistic: Statistic, n_seen: int, n_reference: int, seed: int = 0, draws: int = PERMUTATIONS
) -> PermutationTest:
    """Test whether ID and OOD examples are of one kind, by letting them change places.

    Holds its level at every sample size where examples are independent, since then any change of places is as likely
    as what was observed.

    Args:
        statistic: over a pool of the examples seen, followed by the reference.
        n_seen, n_reference: how many there are of each.
        draws: how many; all of them where there are no more.
    """

    def indexed(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        members = [_membership_from_indices(indices, n_seen + n_reference) for indices in (first, second)]
        return statistic(*members).reshape(first.shape[:-1])

    positions = np.arange(n_seen + n_reference)
    test = stats.permutation_test(
        (positions[:n_seen], positions[n_seen:]),
        indexed,
        n_resamples=draws,
        vectorized=True,
        alternative="greater",
        axis=-1,
        rng=np.random.default_rng(seed),
    )
    null = np.asarray(test.null_distribution)
    return PermutationTest(
        value=float(test.statistic),
        p=float(test.pvalue),
        null_mean=float(null.mean()),
        null_upper=float(np.percentile(null, 95)),
    )


def _membership_from_indices(index: np.ndarray, total: int) -> np.ndarray:
    """0/1 membership of shape (draw, total) from indices of shape (..., member)."""
    rows = index.reshape(-1, index.shape[-1])
    membership = np.zeros((len(rows), total))
    np.put_along_axis(membership, rows, 1.0, axis=1)
    return membership
