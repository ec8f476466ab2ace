"""`examples.jsonl`: what became of every held-out example, and the ones that changed most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from rich.console import Console
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

import tapioca
from tapioca.commands.prune.examples import select_most_changed
from tapioca.commands.prune.page import show as show_run
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.evaluate import evaluate
from tapioca.models.load import PACKAGED
from tapioca.models.tiny import draw_weights, tiny
from tapioca.plan import Plan
from tapioca.records import ExampleResult, PlanAnswer
from tapioca.tasks.base import Task

OPTIONS: dict[str, Any] = {"progress": False, "max_drops": 1, "random_plans": 1}


def examples_of(info: PruneResult) -> list[dict]:
    return [json.loads(line) for line in (info.folder / "examples.jsonl").read_text().splitlines()]


def run(model: PreTrainedModel, rows: list[dict], folder: Path, **options: Any) -> tuple[PruneResult, dict[str, dict]]:
    """A run on these rows, and its examples by id."""
    info = tapioca.prune(
        model, word_tokenizer(), task=write_lines(folder / "task.jsonl", rows), out=folder / "run", **OPTIONS, **options
    )
    examples = examples_of(info)
    judged = next(judged for judged in info.judgements if judged.plan == info.shown)
    assert len(examples) == judged.result.n
    assert np.mean([row["full"]["score"] for row in examples]) == pytest.approx(judged.result.full)
    assert np.mean([row["plan"]["score"] for row in examples]) == pytest.approx(judged.result.planned)
    assert read_run(info.folder) == info
    return info, {row["id"]: row for row in examples}


def chosen(model: PreTrainedModel, task: Task, plan: Plan) -> list[str]:
    """What a plan chooses, by its text."""
    predicted = evaluate(model, task, [plan]).predicted[0]
    return [example.choices[index] for example, index in zip(task.examples, predicted, strict=True)]


def check_choices(model: PreTrainedModel, task: Task, info: PruneResult, examples: dict[str, dict]) -> None:
    """Compare what was written with the task asked again, and see that the plan changes an answer."""
    scores = evaluate(model, task, [Plan.full(4), info.shown])
    changed = 0
    for column, example in enumerate(task.examples):
        if (row := examples.get(example.id)) is None:
            continue
        assert (row["data"], row["group"], row["text"]) == ("ood", example.group, example.text)
        assert row["gold"] == example.choices[example.gold or 0]
        for index, side in enumerate(("full", "plan")):
            answer = example.choices[scores.predicted[index, column]]
            assert set(row[side]) == {"score", "answer", "log_likelihood"}
            assert row[side]["answer"] == answer
            assert row[side]["score"] == float(answer in (row["gold"], *row.get("also", ())))
            assert row[side]["log_likelihood"] == pytest.approx(scores.log_likelihoods[index, column], abs=1e-5)
        changed += row["full"]["answer"] != row["plan"]["answer"]
    assert changed


def test_choices_by_their_texts(tmp_path: Path) -> None:
    model, rows, plan = tiny("llama"), choice_rows(32), Plan.drop(4, [0])
    texts = chosen(model, tapioca.read_task(rows, model, word_tokenizer()), plan)
    rows = [{**row, "answer": text} for row, text in zip(rows, texts, strict=True)]
    rows[1]["answer"] = [rows[1]["answer"], next(text for text in rows[1]["choices"] if text != rows[1]["answer"])]
    info, examples = run(model, rows, tmp_path)
    assert info.plan == info.shown == plan
    check_choices(model, tapioca.read_task(rows, model, word_tokenizer()), info, examples)
    assert {name: row["also"] for name, row in examples.items() if "also" in row} in (
        {},
        {"r1": [rows[1]["answer"][1]]},
    )


def test_labels_of_a_classification_head_by_name_under_the_mildest_plan(tmp_path: Path) -> None:
    config = type(tiny("llama").config).from_dict(
        {**tiny("llama").config.to_dict(), "id2label": {0: "bad", 1: "middling", 2: "good"}, "pad_token_id": 0}
    )
    model = transformers.LlamaForSequenceClassification(config)
    draw_weights(model)
    texts = [{"id": row["id"], "text": row["context"], "label": "bad"} for row in choice_rows(64)]
    labels = chosen(model.eval(), tapioca.read_task(texts, model, word_tokenizer()), Plan.full(4))
    rows = [{**row, "label": label} for row, label in zip(texts, labels, strict=True)]
    info, examples = run(model, rows, tmp_path)
    assert info.plan.is_full
    assert not info.shown.is_full
    check_choices(model, tapioca.read_task(rows, model, word_tokenizer()), info, examples)


def test_written_answers(tmp_path: Path) -> None:
    model = tiny("llama")
    rows = [{"id": row["id"], "context": row["context"], "answer": "yes no"} for row in choice_rows(24)]
    (tmp_path / "task.yaml").write_text("kind: generate\nmax_new_tokens: 6\n")
    info, examples = run(model, rows, tmp_path, score="likelihood")
    judged = next(judged for judged in info.judgements if judged.plan == info.shown)
    assert judged.written is not None
    for index, side in enumerate(("full", "plan")):
        sides = [row[side] for row in examples.values()]
        assert {row["gold"] for row in examples.values()} == {"yes no"}
        assert all(answer["answer"] is None for answer in sides)
        assert all(answer["score"] == answer["log_likelihood"] for answer in sides)
        assert sum(answer["unparsed"] for answer in sides) == judged.written.unparsed[index]
        assert sum(answer["truncated"] for answer in sides) == judged.written.truncated[index]
        assert np.mean([answer["length"] for answer in sides]) == judged.written.mean_length[index]


def test_numbers_have_neither_text_nor_names(tmp_path: Path) -> None:
    info = tapioca.prune(
        PACKAGED["learner"], task="lab:target_offset=2,n=40", reference="lab:id,n=40", out=tmp_path / "run",
        batch_size=40, **OPTIONS,
    )  # fmt: skip
    examples = examples_of(info)
    assert [row["data"] for row in examples] == ["ood"] * 20 + ["id"] * 20
    assert all(row["text"] is row["gold"] is row["full"]["answer"] is None for row in examples)
    assert all(row["plan"]["log_likelihood"] is None for row in examples)
    judged = info.find_result("id")
    assert judged is not None
    assert np.mean([row["plan"]["score"] for row in examples[20:]]) == pytest.approx(judged.result.planned)
    page = (info.folder / "report.html").read_text()
    assert "<h3>Better</h3>" in page
    assert "<th>data</th><th>id</th><th>squared error</th></tr>" in page


def test_a_prompt_cannot_change_the_page(tmp_path: Path) -> None:
    rows = choice_rows(48)
    for row in rows:
        row["context"] += " <script>alert('x')</script>" + " and" * 75
    model = tiny("llama")
    info, _ = run(model, rows, tmp_path, score="likelihood", batch_size=24)
    page = (info.folder / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "characters ..." in page
    assert " and" * 75 not in page
    with Console(record=True, width=60) as console:
        show_run(info, console)
    assert f"examples  {info.folder / 'examples.jsonl'}: every held-out example under" in console.export_text()


def result(name: str, full: float, plan: float, likelihood: float = -1.0) -> ExampleResult:
    """An example whose gold answer has a log-likelihood of −1 under the full model."""
    sides = [PlanAnswer(score=full, answer=None, log_likelihood=-1.0)]
    sides.append(PlanAnswer(score=plan, answer=None, log_likelihood=likelihood))
    return ExampleResult(id=name, data="ood", group=name, text=None, gold=None, full=sides[0], plan=sides[1])


def test_the_most_changed_are_ordered_by_score_then_by_likelihood() -> None:
    same = [result(f"same{at}", 1, 1) for at in range(3)]
    better = [result(f"b{at}", 0, 1, -at) for at in range(12)]
    slightly = [result("slightly", 1, 1, -0.5)]
    worse = [result("w0", 1, 0, -3), result("w1", 1, 0, -4), result("a little worse", 0, 0, -2)]
    found = select_most_changed([*same, *worse, *slightly, *better])
    assert [each.id for each in found] == [*(f"b{at}" for at in range(10)), "a little worse", "w0", "w1"]
    assert [each.id for each in select_most_changed([*same, *slightly])] == ["slightly"]
