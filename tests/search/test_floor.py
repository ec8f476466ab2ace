"""TALE's greedy search: on toy score tables, documented answers, ties and the stopping rule; and on its published logs."""

from __future__ import annotations

import csv
import math
from ast import literal_eval
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tapioca.errors import UsageError
from tapioca.plan import Plan
from tapioca.records import Metric, Trial
from tapioca.search.base import SearchSpace
from tapioca.search.floor import FAITHFUL_MARGIN, FaithfulSearch, FlooredSearch
from tapioca.search.path import SearchPath
from tapioca.search.stepwise import greedy

ACCURACY = Metric(name="accuracy", kind="accuracy")
ERROR = Metric(name="error", kind="error")


def tale(
    n_layers: int,
    metric: Metric,
    *,
    droppable: tuple[int, ...] | None = None,
    max_drops: int | None = None,
    **rule: Any,
) -> FlooredSearch:
    return FlooredSearch(greedy(), SearchSpace.of_layers(n_layers, droppable, max_drops), metric, **rule)


def run(
    search: FlooredSearch,
    score: Callable[[tuple[int, ...]], float],
    likelihood: Callable[[tuple[int, ...]], float] | None = None,
) -> FlooredSearch:
    """Answer everything a search asks from a score function of the dropped layers."""
    likely = likelihood or (lambda drops: 0.0)
    while plans := search.ask():
        search.tell([Trial(plan=plan, score=score(plan.drops), log_likelihood=likely(plan.drops)) for plan in plans])
    return search


def table(scores: dict[tuple[int, ...], float], otherwise: float = 0.0) -> Callable[[tuple[int, ...]], float]:
    return lambda drops: scores.get(drops, otherwise)


def test_path_best_and_most_dropped() -> None:
    scores = {(): 0.50, (1,): 0.55, (0, 1): 0.57, (0, 1, 3): 0.52, (0, 1, 2, 3): 0.495}
    search = run(tale(5, ACCURACY), table(scores))
    assert [found.winner.plan.drops for found in search.rounds] == [(1,), (0, 1), (0, 1, 3), (0, 1, 2, 3)]
    assert search.best.plan == Plan.drop(5, [0, 1])
    assert search.most_dropped.plan == Plan.drop(5, [0, 1, 3])


def test_the_floor_is_the_full_models_score_not_the_last_rounds() -> None:
    # Each round loses 0.004 to the one before; a floor that moved along would never stop.
    search = run(tale(8, ACCURACY, epsilon=0.01), lambda drops: 0.5 - 0.004 * len(drops))
    assert search.floor == pytest.approx(0.49)
    assert [found.accepted for found in search.rounds] == [True, True, False]
    assert search.best.plan.is_full


def test_a_round_exactly_at_the_floor_goes_on() -> None:
    search = run(tale(3, ACCURACY, epsilon=0.25), lambda drops: 0.5 - 0.125 * len(drops))
    assert [found.accepted for found in search.rounds] == [True, True]


def test_rounding_does_not_move_the_floor() -> None:
    search = run(tale(3, ACCURACY, epsilon=0.01), lambda drops: (7 - len(drops)) / 100)
    assert search.rounds[0].accepted


def test_the_winner_of_a_failing_round_is_never_chosen() -> None:
    search = run(tale(4, ACCURACY), table({(): 0.5, (2,): 0.3}))
    assert len(search.rounds) == 1
    assert not search.rounds[0].accepted
    assert search.best.plan.is_full
    assert search.most_dropped.plan.is_full
    assert search.best_nonempty is not None
    assert search.best_nonempty.plan.drops == (2,)


def test_equal_scores_go_to_the_lowest_layer_and_are_counted() -> None:
    search = run(tale(4, ACCURACY, max_drops=1), table({(): 0.5, (1,): 0.6, (3,): 0.6}))
    assert search.rounds[0].winner.plan.drops == (1,)
    assert search.rounds[0].ties == 2


def test_equal_scores_by_likelihood_on_request() -> None:
    scores, likely = table({(): 0.5, (1,): 0.6, (3,): 0.6}), table({(1,): -2.0, (3,): -1.0}, otherwise=-9.0)
    search = run(tale(4, ACCURACY, max_drops=1, ties="likelihood"), scores, likely)
    assert search.rounds[0].winner.plan.drops == (3,)
    assert search.rounds[0].ties == 1


def test_an_order_of_telling_changes_nothing() -> None:
    search = tale(4, ACCURACY, max_drops=1)
    search.tell([Trial(plan=plan, score=0.5, log_likelihood=0) for plan in search.ask()])
    search.tell([Trial(plan=plan, score=0.6, log_likelihood=0) for plan in reversed(search.ask())])
    assert search.rounds[0].winner.plan.drops == (0,)


def test_errors_have_a_relative_floor() -> None:
    search = run(tale(4, ERROR, epsilon=0.01), lambda drops: -200.0 - len(drops))
    assert search.floor == pytest.approx(-202.0)
    assert [found.accepted for found in search.rounds] == [True, True, False]


def test_among_equal_best_the_fewest_drops_win() -> None:
    search = run(tale(4, ACCURACY), lambda drops: 0.5)
    assert search.best.plan.is_full
    assert search.most_dropped.plan.drops == (0, 1, 2)


def test_one_layer_always_stays_and_every_layer_is_tried() -> None:
    search = run(tale(3, ACCURACY), lambda drops: 0.5 + 0.1 * len(drops))
    assert [len(found.trials) for found in search.rounds] == [3, 2]
    assert len(search.best.plan.kept) == 1
    assert search.ask() == []


def test_max_drops() -> None:
    assert len(run(tale(6, ACCURACY, max_drops=2), lambda drops: 0.5 + len(drops)).rounds) == 2


def test_scores_of_other_plans_are_refused() -> None:
    search = tale(3, ACCURACY)
    with pytest.raises(UsageError, match="expected scores of the 1 plans asked for"):
        search.tell([Trial(plan=Plan.drop(3, [0]), score=1, log_likelihood=0)])


def test_layers_that_must_stay_are_never_asked_for() -> None:
    search = tale(4, ACCURACY, droppable=(1, 3))
    asked: set[int] = set()
    run(search, lambda drops: asked.update(drops) or 0.5 + len(drops))  # type: ignore[func-returns-value]
    assert asked == {1, 3}
    assert search.best.plan == Plan.drop(4, [1, 3])
    assert [len(found.trials) for found in search.rounds] == [2, 1]


def test_what_to_take_from_picks_that_are_not_nested() -> None:
    picks = [
        (Plan.drop(4, [3]), 0.4),
        (Plan.drop(4, [0, 1]), 0.6),
        (Plan.scale(4, dict.fromkeys(range(3), 0.0), "mlp"), 0.5),
    ]
    trials = [Trial(plan=plan, score=score, log_likelihood=0) for plan, score in picks]
    full = Trial(plan=Plan.full(4), score=0.5, log_likelihood=0)
    search = SearchPath.from_picks(full, trials, tried=9)
    assert (search.best, search.most_dropped, search.best_nonempty) == (trials[1], trials[2], trials[1])
    assert [found.winner for found in search.rounds] == trials
    worse = SearchPath.from_picks(full, trials[:1], tried=2)
    assert (worse.best, worse.most_dropped, worse.best_nonempty) == (full, full, trials[0])


PUBLISHED = {
    "arc-challenge/slurm-57353": (28, [20, 19, 22, 27, 21], {19, 20}, 0.8138, {19, 20, 21, 22, 27}, 0.7172),
    "arc-challenge/slurm-57352": (
        32,
        [21, 20, 29, 19, 18, 24, 23, 26, 14, 25],
        {18, 19, 20, 21, 23, 24, 26, 29},
        0.8621,
        {18, 19, 20, 21, 23, 24, 26, 29},
        0.7586,
    ),
}
"""Layers, order of drops, best plan and its accuracy, BSBA, and the accuracy that ended the search: SOURCE.txt's account of
the two complete searches that TALE published."""


def read_trace(folder: Path, log: str) -> tuple[float, dict[tuple[int, ...], float]]:
    """Accuracy of the full model and of every plan that a published search tried, by its drops."""
    scores, baseline = {}, 0.0
    with (folder / "data" / "tale_traces" / "traces.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["file"] == f"TALE/{log}.out":
                drops = (*(literal_eval(row["dropped_before"]) or ()), int(row["candidate"]))
                baseline, scores[tuple(sorted(drops))] = float(row["baseline"]), float(row["accuracy"])
    return baseline, scores


@pytest.mark.parametrize("log", PUBLISHED)
def test_published_searches_are_gone_through_alike(log: str, shared: Path) -> None:
    n_layers, order, best, accuracy, most_dropped, last = PUBLISHED[log]
    baseline, scores = read_trace(shared, log)
    search = run(tale(n_layers, ACCURACY, epsilon=0.08), table({(): baseline, **scores}, otherwise=math.nan))
    drops = [set(trial.plan.drops) for trial in search.path]
    assert [after - before for before, after in pairwise(drops)] == [{layer} for layer in order]
    assert [search_round.accepted for search_round in search.rounds] == [True] * len(order) + [False]
    assert search.rounds[-1].winner.score == last < search.floor == pytest.approx(baseline - 0.08)
    assert (set(search.best.plan.drops), search.best.score) == (best, accuracy)
    assert set(search.most_dropped.plan.drops) == most_dropped
    assert search.tried == 1 + len(scores)


def test_a_search_broken_off_is_gone_through_as_far_as_it_went(shared: Path) -> None:
    baseline, scores = read_trace(shared, "arc-easy/slurm-57424")
    search = run(tale(32, ACCURACY, epsilon=0.08, max_drops=8), table({(): baseline, **scores}))
    drops = [set(trial.plan.drops) for trial in search.path]
    assert [after - before for before, after in pairwise(drops)] == [{n} for n in (19, 18, 20, 28, 31, 21, 24, 26)]


@pytest.mark.parametrize(("takes_most", "best"), [(False, (1,)), (True, (1, 2))])
def test_without_labels_the_best_or_the_largest_faithful_plan_is_taken(takes_most: bool, best: tuple[int, ...]) -> None:
    """Layer 0 scores best and changes too much; of three drops none is faithful."""
    search = FaithfulSearch(greedy(), SearchSpace.of_layers(4), takes_most)
    while plans := search.ask():
        scores = [
            2.0 if 0 in plan.drops else {0: 0.0, 1: 1.0 - 0.1 * max(plan.drops, default=0), 2: 0.5}.get(plan.size, 0.2)
            for plan in plans
        ]
        changes = [1.0 if 0 in plan.drops else FAITHFUL_MARGIN if plan.size < 3 else 0.2 for plan in plans]
        search.tell(
            [
                Trial(plan=plan, score=score, change=change)
                for plan, score, change in zip(plans, scores, changes, strict=True)
            ]
        )
    assert [trial.plan.drops for trial in search.path] == [(), (1,), (1, 2)]
    assert [search_round.accepted for search_round in search.rounds] == [True, True, False]
    assert search.best.plan.drops == best
    assert search.tried == 1 + 4 + 3 + 2


def test_without_labels_the_full_model_stays_where_nothing_is_better() -> None:
    search = FaithfulSearch(greedy(), SearchSpace.of_layers(3))
    while plans := search.ask():
        search.tell([Trial(plan=plan, score=-float(plan.size), change=0.0) for plan in plans])
    assert search.best.plan.is_full
    assert search.best_nonempty is not None
    assert search.best_nonempty.plan.size == 1
