"""Rows in memory are a task wherever a file is: the same examples, digests, splits and results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.models.tiny import tiny
from tapioca.observe import capture_states

ROOT = Path(__file__).parents[1]
FORMS = {"a list": list, "a frame": pd.DataFrame, "a data set": Dataset.from_list}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_digest_as_from_a_file(tmp_path: Path, form: str) -> None:
    model, tokenizer, rows = tiny("llama"), word_tokenizer(), choice_rows(24)
    from_file = tapioca.read_task(write_lines(tmp_path / "rows.jsonl", rows), model, tokenizer)
    in_memory = tapioca.read_task(FORMS[form](rows), model, tokenizer)
    assert in_memory.digest == from_file.digest
    assert (in_memory.name, len(in_memory.examples)) == ("rows", 24)
    assert in_memory.notes[0] == "rows: read as a choice task, by its fields answer, choices, context"


def test_the_three_lines_of_the_readme(model_folder: Path) -> None:
    _, code = re.findall(r"```py\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    model, tokenizer = tapioca.load(model_folder)
    names: dict[str, Any] = {
        "tapioca": tapioca,
        "model": model,
        "tokenizer": tokenizer,
        "plan": tapioca.Plan.drop(4, [2]),
        "prompts": ["the cat sat", "a big dog ran", "it was red"],
    }
    exec(code, names)
    assert names["hidden"].shape == (3, 3, model.config.hidden_size)
    assert names["scores"].values.shape == (1, 3)
    assert np.isfinite(names["hidden"]).all()
    assert np.isfinite(names["scores"].values).all()
    np.testing.assert_array_equal(names["hidden"], capture_states(model, names["plan"], names["task"].examples))
    np.testing.assert_array_equal(names["scores"].values, evaluate(model, names["task"], [names["plan"]]).values)


def test_a_task_is_read_for_a_folder_without_its_weights(model_folder: Path) -> None:
    task = tapioca.read_task(choice_rows(4), model_folder, normalize="tokens")
    assert [row.normalizer for row in task.examples[0].rows] == [2, 3, 3, 1]


def test_prune_takes_rows_wherever_it_takes_a_file(tmp_path: Path, model_folder: Path) -> None:
    ood, reference = choice_rows(48), [{**row, "id": f"id-{row['id']}", "group": f"id-{row['group']}", "context": f"it was {row['context']}"} for row in choice_rows(48)]  # fmt: skip
    said: dict[str, Any] = {"random_plans": 1, "score": "likelihood", "progress": False}
    files = [write_lines(tmp_path / f"{name}.jsonl", rows) for name, rows in (("ood", ood), ("id", reference))]
    from_files = tapioca.prune(model_folder, task=files[0], reference=files[1], out=tmp_path / "a", **said)
    in_memory = tapioca.prune(
        model_folder, task=pd.DataFrame(ood), reference=Dataset.from_list(reference), out=tmp_path / "b", **said
    )
    assert in_memory.plan == from_files.plan
    manifests = [(tmp_path / run / "manifest.json").read_text() for run in "ab"]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            [{"context": "a", "choices": ["sat", "ran"]}],
            DataError,
            r"rows: cannot tell the kind of task from the fields 'context' .*--field answer=COLUMN",
        ),
        ([{**choice_rows(1)[0], "answer": "none"}], DataError, "row 0: answer 'none' is none of"),
        ([{"colour": "red"}], DataError, "rows: cannot tell the kind of task from the fields 'colour'"),
        ([], DataError, "the data in memory has no rows"),
        ({"text": ["a"]}, DataError, "got rows as a dict; expected a pandas DataFrame"),
    ],
)
def test_rows_that_are_no_task(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tapioca.read_task(rows, tiny("llama"), word_tokenizer())
    with pytest.raises(error, match=message):
        tapioca.prune(tiny("llama"), word_tokenizer(), task=rows, progress=False)


def test_options_that_no_task_has() -> None:
    with pytest.raises(DataError, match="rows: colour: "):
        tapioca.read_task(choice_rows(2), tiny("llama"), word_tokenizer(), colour="red")
    with pytest.raises(UsageError, match="unknown option colour"):
        tapioca.prune("x", task=choice_rows(2), colour="red")
