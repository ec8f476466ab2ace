"""A race stops no plan it must not stop: shown by simulation, and by cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tapioca.search.race import Race


def run(scores: np.ndarray, delta: float, rng: np.random.Generator, chunk: int = 50) -> tuple[np.ndarray, float]:
    """The plans left at the end, and the share of all scores that was needed."""
    plans, examples = scores.shape
    race, order, spent = Race(plans, examples, delta=delta), rng.permutation(examples), 0
    for at in range(0, examples, chunk):
        new = order[at : at + chunk]
        spent += len(race.running) * len(new)
        race.look(scores[race.running][:, new])
    return race.running, spent / scores.size


def answers(rates: list[float], examples: int, rng: np.random.Generator) -> np.ndarray:
    """Right and wrong answers of plans that mostly agree."""
    shared, own = rng.random(examples), rng.random((len(rates), examples))
    return (0.7 * shared + 0.3 * own < np.array(rates)[:, None]).astype(float)


@pytest.mark.parametrize("rates", [[0.5] * 6, [0.52] + [0.5] * 5, [0.6, 0.59, 0.4, 0.4, 0.3, 0.2]])
def test_the_best_plan_is_rarely_stopped(rates: list[float]) -> None:
    """At delta = 0.2, so that an error rate too high would show in 150 races."""
    rng = np.random.default_rng(3)
    stopped = 0
    for _ in range(150):
        scores = answers(rates, 300, rng)
        left, _ = run(scores, 0.2, rng)
        stopped += int(scores.mean(1).argmax()) not in left
    assert stopped / 150 <= 0.2


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
