"""Written answers scored by a function of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.evaluate import evaluate
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import Generate
from tapioca.tasks.text import Encoder


def read(folder: Path, body: str, name: str = "my_score:score", trusted: bool = True, extra: str = "") -> Generate:
    """A task of ten rows whose module scores by `body`."""
    rows = [{"question": "cat " * (1 + at), "answer": "dog", "worth": at / 10} for at in range(10)]
    write_lines(folder / "rows.jsonl", rows)
    (folder / "rows.yaml").write_text(f"kind: generate\nmax_new_tokens: 2\nscore_function: {name}\n{extra}")
    (folder / "my_score.py").write_text(f"def score(text, row):\n    {body}\n")
    given = {"trust_task_code": True} if trusted else {}
    task = load_task(str(folder / "rows.jsonl"), Encoder(word_tokenizer(), 256), given)
    assert isinstance(task, Generate)
    return task


def scores(task: Generate) -> list[float]:
    return [float(value) for value in evaluate(tiny("llama"), task, [Plan.full(4)]).values[0]]


def test_texts_are_scored_by_the_function_from_text_and_row(tmp_path: Path) -> None:
    task = read(tmp_path, "return row['worth'] if isinstance(text, str) else 1")
    assert scores(task) == [at / 10 for at in range(10)]
    assert task.metric.name == "my_score:score"
    assert task.metric.kind == "accuracy"
    assert task.notes[-1] == "rows.jsonl: texts are scored by my_score:score, whose code runs"
    other = read(tmp_path, "return row['worth'] > 0.5")
    assert scores(other) == [float(at > 5) for at in range(10)]
    assert scores(read(tmp_path, "import numpy; return numpy.float64(row['worth']) > 0.5")) == scores(other)
    assert other.cache_key != task.cache_key


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 2", r"rows.jsonl:\d+: my_score:score gave 2; expected True, False or a number from 0 to 1"),
        ("return -0.1", "my_score:score gave -0.1; expected"),
        ("return float('nan')", "my_score:score gave nan; expected"),
        ("return 'right'", "my_score:score gave 'right'; expected"),
        ("return None", "my_score:score gave None; expected"),
        ("return row['no']", r"rows.jsonl:\d+: my_score:score failed: KeyError: 'no'"),
    ],
)
def test_what_is_no_score_names_row_and_function(body: str, message: str, tmp_path: Path) -> None:
    task = read(tmp_path, body)
    with pytest.raises(DataError, match=message):
        scores(task)


@pytest.mark.parametrize(
    ("name", "trusted", "extra", "message"),
    [
        ("my_score:score", False, "", "my_score:score runs Python code; read it, then say --trust-task-code"),
        ("my_score:score", False, "trust_task_code: true\n", "a file cannot trust its own code"),
        ("my_score", True, "", "'my_score' is not of the form module:function"),
        ("my_score:mark", True, "", "module my_score has no function 'mark'"),
        ("no_such_module:score", True, "", "cannot be imported: ModuleNotFoundError"),
        ("my_score:score", True, "match: number\n", "leave out match, extract and ignore_case"),
    ],
)
def test_functions_that_are_not_run(name: str, trusted: bool, extra: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, "return True", name, trusted, extra)
