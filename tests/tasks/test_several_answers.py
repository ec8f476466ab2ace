"""Several right answers: any of them counts, the likelihood is that of the first text or of the likeliest choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.records import Example, ExampleScore, Request
from tapioca.tasks.choice import ACCURACY, GOLD_LOSS, score_choice
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder


def load(path: Path, answers: Any, **given: Any) -> Any:
    rows = [{"question": "the cat", "answers": {"text": answers}}]
    said = {"kind": "generate", "max_new_tokens": 4, "fields": {"answer": "{{ answers.text }}"}, **given}
    return load_task(str(write_lines(path / "t.jsonl", rows)), Encoder(word_tokenizer(), 128), said)


@pytest.mark.parametrize(("written", "score"), [("red", 1.0), ("big", 1.0), ("dog", 0.0)])
def test_any_text_of_a_list_is_right(written: str, score: float, tmp_path: Path) -> None:
    task = load(tmp_path, ["red", "big", "red"])
    [example] = task.examples
    ids = word_tokenizer().encode(written, add_special_tokens=False)
    answer = task.score(example, [np.array([-1.5]), np.array(ids)])
    assert (answer.score, answer.log_likelihood) == (score, -1.5)
    assert (example.answer, example.also_answers) == ("red", ("big",))
    assert list(example.rows[0].targets) == word_tokenizer().encode("red", add_special_tokens=False)


def test_a_template_of_the_gold_answer_takes_the_list_itself(tmp_path: Path) -> None:
    [example] = load(tmp_path, ["red", "big"], gold="{{ answer[1] }}").examples
    assert (example.answer, example.also_answers) == ("big", ())
    assert load(tmp_path, ["red"]).digest == load(tmp_path, "red").digest != load(tmp_path, ["red", "big"]).digest


def test_no_text_in_the_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.jsonl:1: the list of answers is empty; expected some text"):
        load(tmp_path, [])
    with pytest.raises(DataError, match=r"t\.jsonl:1: the answer is empty; expected some text"):
        load(tmp_path, ["red", " "])


@pytest.mark.parametrize(
    ("values", "accuracy", "likelihood"),
    [([-3.0, -1.0, -2.0], 0.0, -2.0), ([-1.0, -3.0, -2.0], 1.0, -1.0), ([-2.0, -3.0, -1.0], 1.0, -1.0)],
)
def test_any_of_several_right_choices_counts(values: list[float], accuracy: float, likelihood: float) -> None:
    row = Request(inputs=(3,), targets=())
    example = Example(id="a", group="a", rows=(row,), prompt=(3,), gold=0, also=(2,))
    answers: list[ExampleScore] = [score_choice(np.array(values), example, metric) for metric in (ACCURACY, GOLD_LOSS)]
    assert [answer.score for answer in answers] == [accuracy, likelihood]
    assert {answer.log_likelihood for answer in answers} == {likelihood}
