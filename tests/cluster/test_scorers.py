"""Whoever computes answers gives the same ones: this process, workers in any order, workers that are lost, and Ray's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter

import numpy as np
import pytest
import torch
from support.crew import InProcessCrew
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

from tapioca.cluster.dispatch import LOOKAHEAD, Dispatcher
from tapioca.engine.sweep import Schedule
from tapioca.errors import ModelError, NonFiniteError
from tapioca.evaluate import Scorer, evaluate
from tapioca.evaluate.scorer import LocalScorer
from tapioca.models.find import find_layers
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore
from tapioca.search.race import Race
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

PLANS = [Plan.full(4), Plan.drop(4, [0]), Plan.drop(4, [1]), Plan.scale(4, {2: 0.5})]
OpenScorer = Callable[[PreTrainedModel, Task], Scorer]


class Answers(dict):
    """Remembers answers in the order in which they came."""

    def recall(self, plan: Plan, batch: str) -> list[ExampleScore] | None:
        return self.get((plan, batch))

    def record(self, plan: Plan, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
        assert (plan, batch) not in self
        self[plan, batch] = list(answers)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = write_lines(tmp_path_factory.mktemp("data") / "choice.jsonl", choice_rows(19))
    return load_task(str(path), Encoder(word_tokenizer(), 128), {})


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny("llama")


def in_process(model: PreTrainedModel, task: Task, n_workers: int = 3, **options: object) -> Dispatcher:
    return Dispatcher(InProcessCrew(n_workers, partial(tuple, (model, Schedule())), **options))


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[OpenScorer]:
    """Two actors for each model and task."""
    pytest.importorskip("ray", reason="ray is not installed")
    from tapioca.cluster.connect import connect_ray
    from tapioca.cluster.ray_crew import RayCrew
    from tapioca.cluster.share import Share

    with connect_ray("local", 4) as ray:
        yield lambda model, task: Dispatcher(RayCrew(ray, Share(2, 1, 0, 1), partial(tuple, (model, Schedule())), task))


@pytest.fixture(
    params=[
        "local",
        "first come",
        "last come",
        "a slow worker",
        "lost now and then",
        pytest.param("ray", marks=pytest.mark.slow),
    ]
)
def open_scorer(request: pytest.FixtureRequest) -> OpenScorer:
    openers: dict[str, OpenScorer] = {
        "local": lambda model, task: LocalScorer(model, Schedule()),
        "first come": in_process,
        "last come": partial(in_process, choose=itemgetter(-1)),
        "a slow worker": partial(
            in_process, choose=lambda names: min(names, key=lambda name: (name == "worker 1", name))
        ),
        "lost now and then": partial(in_process, loses=lambda worker, batch: worker == "worker 2" and batch % 2 == 0),
    }
    return openers.get(request.param) or request.getfixturevalue("ray_workers")


def test_scores_are_the_same_bit_for_bit(open_scorer: OpenScorer, model: PreTrainedModel, task: Task) -> None:
    expected, stored = Answers(), Answers()
    local = evaluate(model, task, PLANS, batch_size=2, result_cache=expected)
    spread = evaluate(model, task, PLANS, batch_size=2, result_cache=stored, scorer=open_scorer(model, task))
    for name, array in vars(local).items():
        assert np.array_equal(getattr(spread, name), array), name
    assert [batch for _, batch in stored] == [batch for _, batch in expected]
    assert stored == expected


def test_a_race_stops_the_same_plans_at_the_same_batch(
    open_scorer: OpenScorer, model: PreTrainedModel, task: Task
) -> None:
    def run(scorer: Scorer | None) -> tuple[np.ndarray, Answers, list[tuple[Plan, int]]]:
        answers, steps, race = Answers(), list[tuple[Plan, int]](), Race(len(PLANS), len(task.examples), delta=0.6)
        on_batch = lambda plan, done: steps.append((plan, done))  # noqa: E731
        scores = evaluate(
            model,
            task,
            PLANS,
            batch_size=2,
            result_cache=answers,
            on_batch=on_batch,
            stopping=race,
            seed=3,
            scorer=scorer,
        )
        return scores.values, answers, steps

    expected, expected_answers, expected_steps = run(None)
    assert 0 < np.isnan(expected).any(1).sum() < len(PLANS)  # some are stopped
    values, answers, steps = run(open_scorer(model, task))
    assert np.array_equal(values, expected, equal_nan=True)
    assert answers == expected_answers
    assert Counter(steps) == Counter(expected_steps)
    assert sum(done for _, done in steps) == len(PLANS) * len(task.examples)


def test_what_is_known_is_not_asked_again(open_scorer: OpenScorer, model: PreTrainedModel, task: Task) -> None:
    stored = Answers()
    expected = evaluate(model, task, PLANS, batch_size=2, result_cache=stored)
    for batch in make_batches(task, 2)[1::2]:
        del stored[PLANS[1], batch.digest]
    scorer = open_scorer(model, task)
    again = evaluate(model, task, PLANS, batch_size=2, result_cache=stored, scorer=scorer)  # recording twice fails
    assert np.array_equal(again.values, expected.values)
    if isinstance(scorer, Dispatcher) and isinstance(scorer.crew, InProcessCrew):
        assert {batch for _, batch in scorer.crew.assigned} == {batch.digest for batch in make_batches(task, 2)[1::2]}


def test_an_error_is_the_same_line_behind_the_name_of_the_worker(open_scorer: OpenScorer, task: Task) -> None:
    broken = tiny("llama")
    with torch.no_grad():
        next(find_layers(broken).blocks[2].parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteError) as expected:
        evaluate(broken, task, PLANS[:1], batch_size=2)
    scorer = open_scorer(broken, task)
    with pytest.raises(NonFiniteError) as raised:
        evaluate(broken, task, PLANS[:1], batch_size=2, scorer=scorer)
    worker, separator, message = str(raised.value).partition(": ")
    if isinstance(scorer, LocalScorer):
        assert str(raised.value) == str(expected.value)
    else:
        assert separator
        assert worker.startswith("worker ")
        assert "from layer 2 on" in message
        assert message.partition("(")[0] == str(expected.value).partition("(")[0]


def test_batches_stay_with_their_worker_and_a_slow_one_loses_those_it_would_come_to_last(
    model: PreTrainedModel, task: Task
) -> None:
    scorer = in_process(model, task, n_workers=2)
    evaluate(model, task, PLANS[:1], batch_size=2, scorer=scorer)
    owners = dict((batch, worker) for worker, batch in scorer.crew.assigned)  # noqa: C402
    assert set(Counter(owners.values())) == {"worker 1", "worker 2"}
    scorer.crew.assigned.clear()
    evaluate(model, task, PLANS[1:2], batch_size=2, scorer=scorer)
    stayed = sum(owners[batch] == worker for worker, batch in scorer.crew.assigned)
    assert stayed >= len(owners) - 2

    scorer = in_process(model, task, n_workers=2, choose=max)  # worker 1 gets a turn when the other has nothing
    evaluate(model, task, PLANS[:1], batch_size=1, scorer=scorer)
    share = Counter(worker for worker, _ in scorer.crew.assigned)
    assert share["worker 1"] >= 1
    assert share["worker 2"] >= 2 * LOOKAHEAD - 1


def test_a_batch_that_kills_whoever_has_it_ends_the_run(model: PreTrainedModel, task: Task) -> None:
    told: list[str] = []
    scorer = in_process(model, task, n_workers=1, loses=lambda worker, batch: batch >= 2)
    scorer = Dispatcher(scorer.crew, told.append)
    stored = Answers()
    first, last = make_batches(task, 4)[2].examples[0].id, make_batches(task, 4)[2].examples[-1].id
    with pytest.raises(ModelError) as raised:
        evaluate(model, task, PLANS[:1], batch_size=4, result_cache=stored, scorer=scorer)
    assert str(raised.value) == (
        f"worker 1 was killed over examples {first} ... {last}, 3 in a row (out of memory?); use a smaller --batch-size "
        "or fewer --workers"
    )
    assert len(stored) == 2
    assert told == ["worker 1 is lost; what it was at is given out again"] * 2


def test_a_finished_run_asks_no_worker_anything(model: PreTrainedModel, task: Task) -> None:
    stored = Answers()
    expected = evaluate(model, task, PLANS, batch_size=2, result_cache=stored)
    scorer = in_process(model, task)
    assert np.array_equal(
        evaluate(model, task, PLANS, batch_size=2, result_cache=stored, scorer=scorer).values, expected.values
    )
    assert scorer.crew.assigned == []
