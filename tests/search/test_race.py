"""A race stops no plan it must not stop: shown by simulation, and by cases counted by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tapioca.search.race import Race, choose_bound


def run(
    scores: np.ndarray, delta: float, rng: np.random.Generator, chunk: int = 50, bound: float = 1.0
) -> tuple[np.ndarray, float]:
    """The plans left at the end, and the share of all scores that was needed."""
    plans, examples = scores.shape
    race, order, spent = Race(plans, examples, bound, delta), rng.permutation(examples), 0
    for at in range(0, examples, chunk):
        new = order[at : at + chunk]
        spent += len(race.running) * len(new)
        race.look(scores[race.running][:, new])
    return race.running, spent / scores.size


def answers(rates: list[float], examples: int, rng: np.random.Generator) -> np.ndarray:
    """Right and wrong answers of plans that mostly agree."""
    shared, own = rng.random(examples), rng.random((len(rates), examples))
    return (0.7 * shared + 0.3 * own < np.array(rates)[:, None]).astype(float)


@pytest.mark.parametrize(
    "rates",
    [
        [0.5] * 6,
        pytest.param([0.52] + [0.5] * 5, marks=pytest.mark.slow),
        pytest.param([0.6, 0.59, 0.4, 0.4, 0.3, 0.2], marks=pytest.mark.slow),
    ],
)
def test_the_best_plan_is_rarely_stopped(rates: list[float]) -> None:
    """At delta = 0.2, so that an error rate too high would show in 150 races."""
    rng = np.random.default_rng(3)
    stopped = 0
    for _ in range(150):
        scores = answers(rates, 300, rng)
        left, _ = run(scores, 0.2, rng)
        stopped += int(scores.mean(1).argmax()) not in left
    assert stopped / 150 <= 0.2


def protected(scores: np.ndarray, bound: float) -> list[int]:
    """The plans that no other is better than, in the mean of their differences cut to a bound."""
    ahead = np.clip(scores[:, None] - scores[None, :], -bound, bound).sum(-1)
    return np.flatnonzero((ahead <= 1e-12).all(0)).tolist()


@pytest.mark.parametrize("tail", [1.2, 3.0])
@pytest.mark.parametrize("shifts", [[0.0] * 4, [0.1, 0.0, 0.0, 0.0], [0.0, 0.0, -0.5, -1.0]])
def test_the_best_plan_is_rarely_stopped_where_differences_are_cut(tail: float, shifts: list[float]) -> None:
    """Scores with no bounds and few large values, as errors have; with equal plans the margin is smallest."""
    rng = np.random.default_rng(4)
    stopped = races = 0
    for _ in range(120):
        shared, own = rng.standard_t(tail, 200), rng.standard_t(tail, (4, 200))
        scores = shared + 0.5 * own + np.array(shifts)[:, None]
        left, _ = run(scores, 0.2, rng, chunk=10, bound=0.5)
        for plan in protected(scores, 0.5):
            races += 1
            stopped += plan not in left
    assert races > 80
    assert stopped / races <= 0.2


def tied(kind: str) -> np.ndarray:
    """Two plans with equal sums: as right as each other, with heavy tails, or one with rare large wins."""
    scores = np.zeros((2, 150))
    if kind == "right":
        scores[0, :20] = scores[1, 20:40] = 1
    elif kind == "heavy":
        scores[0, :75] = scores[1, 75:] = np.random.default_rng(6).standard_t(1.5, 75)
    else:
        scores[0, :10], scores[1, 10:] = 1, 1 / 14
    return scores


@pytest.mark.parametrize("kind", ["right", "heavy", "rare"])
def test_a_plan_that_ties_is_stopped_as_often_as_allowed_at_most(kind: str) -> None:
    """Here nothing is to spare but what is lost between looks; that rounding makes one sum larger does not count."""
    rng, scores = np.random.default_rng(7), tied(kind)
    stopped = sum(0 not in run(scores, 0.2, rng, chunk=5)[0] for _ in range(200))
    assert stopped / 200 <= 0.2


SMALL = np.array([[1.0, 0, 0, 5, 2, 0], [0, 3.0, 0, 0, 2, 1], [0, 0, 2.0, 0, 0, 1]])
"""Scores of three plans on six examples, on which differences of 5 and 3 are cut to 2."""


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (np.array([[1.0, 0, 0, 1, 0, 1], [0, 1.0, 1, 0, 1, 0]]), 1.0),
        (np.array([[9.0, 0, 0, 0, 0, -0.5], [0, 1.0, 0.5, 0.25, 0, -0.25]]), 1.0),
        (SMALL, None),
    ],
)
def test_in_all_orders_together_nothing_is_won_against_the_best(scores: np.ndarray, expected: float | None) -> None:
    """Exact, since every order is drawn: capital is a martingale against a plan that ties, else a supermartingale."""
    examples = scores.shape[1]
    capital = []
    for order in permutations(range(examples)):
        race, held = Race(len(scores), examples, bound=2.0, delta=1e-9), []
        for at in order:
            race.look(scores[race.running][:, [at]])
            held.append(np.exp(race._capital))
        capital.append(held)
    mean = np.mean(capital, axis=0)  # (example drawn, plan)
    (best, *tied) = protected(scores, 2.0)
    assert mean[:, best].max() <= 1 + 1e-9
    assert mean[-2].max() > 1 + (0.1 if expected is None else -1e-9)
    if expected is not None:
        assert mean[:, [best, *tied]] == pytest.approx(np.full((examples, 2), expected))


def test_the_best_plan_is_stopped_in_few_of_all_orders() -> None:
    """The bound itself, in every order of a population on which bets can be won early."""
    scores, stopped = np.array([[1.0, 0, 0, 0, 0, 0], [0.0, 0.15, 0.15, 0.2, 0.2, 0.2]]), 0
    orders = list(permutations(range(6)))
    for order in orders:
        race = Race(2, 6, delta=0.5)
        for at in order:
            race.look(scores[race.running][:, [at]])
        stopped += 0 not in race.running
    assert scores[0].mean() > scores[1].mean()
    assert stopped / len(orders) <= 0.5


def test_weights_multiply_differences() -> None:
    rng = np.random.default_rng(5)
    scores, weights = rng.normal(size=(3, 100)) + np.array([[0.8], [0.0], [0.0]]), rng.uniform(0.5, 1.5, 100)
    plain, weighted = Race(3, 100, 2.0, 0.05), Race(3, 100, 2.0, 0.05, weights)
    for at in range(0, 100, 10):
        here = slice(at, at + 10)
        first = plain.look((scores * weights)[plain.running, here])
        assert first.tolist() == weighted.look(scores[weighted.running, here]).tolist()
    assert first.tolist() == [0]


def test_a_bound_leaves_nearly_all_known_differences_whole() -> None:
    scores = np.stack([np.zeros(1001), np.arange(1001.0)])
    assert choose_bound(scores) == pytest.approx(990)
    assert choose_bound(np.concatenate([scores, -scores[1:]])) == pytest.approx(
        np.quantile([*range(1001), *range(1001), *range(0, 2002, 2)], 0.99)
    )


def test_bad_plans_are_stopped_early() -> None:
    rng = np.random.default_rng(0)
    scores = answers([0.6, 0.55] + [0.35] * 14, 2000, rng)
    left, spent = run(scores, 0.05, rng)
    assert 0 in left
    assert set(left) <= {0, 1}
    assert spent < 0.25


@pytest.mark.parametrize("seed", range(20))
def test_without_risk_no_decision_changes(seed: int) -> None:
    """With delta = 0 all plans that share the highest mean are left, in any order of the examples."""
    rng = np.random.default_rng(seed)
    scores = answers([0.55, 0.5, 0.5, 0.3], 40, rng)
    left, spent = run(scores, 0.0, rng, chunk=8)
    assert set(np.flatnonzero(scores.mean(1) == scores.mean(1).max())) <= set(left)
    assert spent <= 1


def test_a_plan_stops_when_it_cannot_catch_up() -> None:
    race = Race(2, 10)
    assert race.look(np.array([[1.0] * 5, [0.0] * 5])).tolist() == [0, 1]  # five behind, five to come: a tie is left
    assert race.look(np.array([[1.0], [0.0]])).tolist() == [0]
    assert race.look(np.array([[0.0] * 4])).tolist() == [0]


def test_differences_are_cut_to_the_bound() -> None:
    """One example cannot decide, however large its difference."""
    race = Race(2, 10, bound=0.5)
    assert race.look(np.array([[100.0], [0.0]])).tolist() == [0, 1]


def test_one_plan_alone_goes_on() -> None:
    assert Race(1, 3, delta=0.05).look(np.ones((1, 3))).tolist() == [0]
