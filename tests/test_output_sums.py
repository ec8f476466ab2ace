"""Scores of weighted sums of outputs: each kind of task against the sum made by hand, and remembered like those of plans."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, run_forward
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.plan import Answerer, OutputSum, Plan
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

FULL, DROP = Plan.full(4), Plan.drop(4, [1])
SUMS = [OutputSum.mean(FULL, DROP), OutputSum.times(0.5, FULL), OutputSum(terms=((FULL, 2.0), (DROP, -1.0)))]


def text_task(folder: Path, kind: str) -> Task:
    rows, given = choice_rows(9), dict[str, object]()
    if kind == "perplexity":
        rows = [{"id": row["id"], "text": row["context"]} for row in rows]
    if kind == "label":
        given = {"labels": ("yes", "no", "one", "two"), "template": "{{ context }}", "kind": "label"}
    if kind == "generate":
        given = {"kind": kind, "template": "{{ context }}", "gold": "yes", "max_new_tokens": 2}
    return load_task(str(write_lines(folder / f"{kind}.jsonl", rows)), Encoder(word_tokenizer(), 128), given)


@pytest.mark.parametrize("kind", ["choice", "label", "perplexity", "regression"])
def test_a_sum_is_scored_as_the_outputs_added_by_hand(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    is_regression = kind == "regression"
    model = Learner(learner_config(layers=4, width=16, heads=2)).eval() if is_regression else tiny("llama")
    task = load_lab_task("lab:context_noise=0.5,n=9") if is_regression else text_task(tmp_path, kind)
    asked: list[Answerer] = [SUMS[0], FULL, *SUMS[1:]]
    found = evaluate(model, task, asked, batch_size=4)
    assert found.plans == tuple(asked)
    for output_sum in SUMS:
        for column, example in enumerate(task.examples):
            batch, keep = collate(model, [row.inputs for row in example.rows]), task.logits_to_keep(example.rows)
            logits = torch.zeros(())
            for plan, weight in output_sum.terms:
                with apply(model, plan):
                    logits = logits + weight * run_forward(model, batch, keep)
            expected = task.score(example, task.extract(logits, example.rows))
            row = asked.index(output_sum)
            assert found.values[row, column] == pytest.approx(expected.score, abs=1e-4)
            assert found.log_likelihoods[row, column] == pytest.approx(expected.log_likelihood, abs=1e-4)
    assert np.array_equal(found.values[1], evaluate(model, task, [FULL], batch_size=4).values[0])


def test_sums_are_remembered_like_plans(tmp_path: Path) -> None:
    known: dict = {}
    ledger = SimpleNamespace(
        recall=lambda plan, batch: known.get((plan.digest, batch)),
        record=lambda plan, batch, answers, spent: known.setdefault((plan.digest, batch), answers),
    )
    model, task = tiny("llama"), text_task(tmp_path, "label")
    first = evaluate(model, task, SUMS, batch_size=4, result_cache=ledger)
    assert {digest for digest, _ in known} == {output_sum.digest for output_sum in SUMS}
    again = evaluate(tiny("gpt2"), task, SUMS, batch_size=4, result_cache=ledger)  # which is not asked
    assert np.array_equal(first.values, again.values)


def test_texts_are_written_under_one_plan(tmp_path: Path) -> None:
    task = text_task(tmp_path, "generate")
    message = "has texts written, one plan at a time; sums of outputs write none"
    with pytest.raises(UsageError, match=message):
        evaluate(tiny("llama"), task, [FULL, SUMS[0]], batch_size=4)


@pytest.mark.parametrize(
    "terms", [(), ((FULL, float("nan")),), ((FULL, "much"),), (("drop 1", 1.0),), ((FULL,),), "full"]
)
def test_what_is_no_sum_is_refused(terms: object) -> None:
    with pytest.raises(UsageError, match="not a sum of outputs: "):
        OutputSum(terms=terms)


def test_a_sum_has_one_json_and_one_name() -> None:
    mean = OutputSum.mean(FULL, DROP)
    assert OutputSum.model_validate_json(mean.to_json()) == mean
    assert str(mean) == "0.5 × (full model) + 0.5 × (drop 1)"
    assert len({output_sum.digest for output_sum in (*SUMS, OutputSum.times(1.0, FULL))}) == 4
    assert mean.plans == (FULL, DROP)
