"""Columns whose numbers are classes with names (`datasets.ClassLabel`): the name says which label is meant, where it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Sequence as Listed
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.tasks.files import load_task
from tapioca.tasks.rows import rows_in_memory
from tapioca.tasks.text import Encoder

HEAD = ("bad", "middling", "good")
TEXTS = ["the cat sat", "a big dog", "it was red", "the mat"]


def table(names: list[str], numbers: list[int], column: str = "label") -> Dataset:
    rows = [{"text": text, column: number} for text, number in zip(TEXTS, numbers, strict=False)]
    return Dataset.from_list(rows, features=Features({"text": Value("string"), column: ClassLabel(names=names)}))


def encoder(labels: tuple[str, ...] | None = None) -> Encoder:
    return Encoder(word_tokenizer(), 512, labels)


def saved(data: Dataset, folder: Path) -> str:
    data.save_to_disk(folder / "saved")
    return str(folder / "saved")


def saved_splits(data: Dataset, folder: Path) -> str:
    DatasetDict({"validation": data}).save_to_disk(folder / "splits")
    return str(folder / "splits")


def parquet(data: Dataset, folder: Path) -> str:
    data.to_parquet(folder / "data.parquet")
    return str(folder / "data.parquet")


def hub_folder(data: Dataset, folder: Path) -> str:
    data.to_parquet(folder / "set" / "validation.parquet")
    return f"hub:{folder / 'set'}"


@pytest.mark.parametrize("save", [saved, saved_splits, parquet, hub_folder])
def test_a_head_is_told_by_name(save: Callable[[Dataset, Path], str], tmp_path: Path) -> None:
    task = load_task(save(table(["good", "bad", "middling"], [0, 1, 2, 1]), tmp_path), encoder(HEAD), {})
    assert [example.gold for example in task.examples] == [2, 0, 1, 0]
    assert any(note.endswith("the right one given by name") for note in task.notes)


@pytest.mark.parametrize(
    ("names", "numbers", "golds", "unlike"),
    [
        (["good", "bad", "middling"], [0, 1, 2], [2, 0, 1], False),
        (["GOOD", "Bad", "Middling"], [0, 1, 2], [2, 0, 1], False),
        (["good", "bad"], [0, 1, 1], [2, 0, 0], False),
        (["good ", " bad"], [0, 1, 1], [2, 0, 0], False),
        (["odd", "bad", "good"], [1, 2, 1], [0, 2, 0], False),
        (["low", "mid", "high"], [2, 0, 1], [2, 0, 1], True),
        (["bad", "middling", "good"], [2, 0, 1], [2, 0, 1], False),
        (["1", "2", "3"], [2, 0, 1], [2, 0, 1], True),
    ],
)
def test_names_in_any_order_and_other_names(
    names: list[str], numbers: list[int], golds: list[int], unlike: bool
) -> None:
    task = load_task("rows", encoder(HEAD), {}, rows_in_memory(table(names, numbers)))
    assert [example.gold for example in task.examples] == golds
    said = f"rows: the data call their classes {', '.join(names)}, which are none of bad, middling, good; read by their numbers"
    assert (said in task.notes) == unlike


def test_a_class_that_no_label_has_and_none_at_all() -> None:
    with pytest.raises(DataError, match=r"row 0: label 'odd' is none of the model's 3 labels \(bad, middling, good\)"):
        load_task("rows", encoder(HEAD), {}, rows_in_memory(table(["odd", "bad"], [0, 1])))
    with pytest.raises(DataError, match=r"row 1: label -1 is none of the model's 3 labels"):
        load_task("rows", encoder(HEAD), {}, rows_in_memory(table(["good", "bad"], [0, -1])))


def test_what_the_user_says_wins() -> None:
    data = table(["good", "bad", "middling"], [0, 1, 2])
    task = load_task("rows", encoder(HEAD), {"answers": "index"}, rows_in_memory(data))
    assert [example.gold for example in task.examples] == [0, 1, 2]
    computed = {"fields": {"label": "{{ label }}"}}
    task = load_task("rows", encoder(HEAD), computed, rows_in_memory(data))
    assert [example.gold for example in task.examples] == [0, 1, 2]


@pytest.mark.parametrize("field", ["answer", "sentiment"])
def test_labels_of_a_language_model(field: str) -> None:
    said: dict[str, Any] = {"kind": "label", "labels": ("no", "yes"), "template": "{{ text }}"}
    if field != "answer":
        said["fields"] = {"answer": field}
    task = load_task("rows", encoder(), said, rows_in_memory(table(["Yes", "No"], [0, 1, 1], field)))
    assert [example.gold for example in task.examples] == [1, 0, 0]


def test_labels_that_differ_in_case_alone() -> None:
    task = load_task("rows", encoder(("a", "A")), {}, rows_in_memory(table(["A", "a"], [0, 1, 0])))
    assert [example.gold for example in task.examples] == [1, 0, 1]


def test_choices_with_labels_and_without() -> None:
    letters = ClassLabel(names=["D", "C", "B", "A"])
    texts = ["the cat", "a big dog", "it", "one red mat"]
    listed = {"text": Listed(Value("string")), "label": Listed(Value("string"))}
    rows = [
        {"question": text, "choices": {"text": texts, "label": list("ABCD")}, "answer": at}
        for at, text in enumerate(TEXTS)
    ]
    data = Dataset.from_list(rows, features=Features(question=Value("string"), choices=listed, answer=letters))
    task = load_task("rows", encoder(), {}, rows_in_memory(data))
    assert [example.gold for example in task.examples] == [3, 2, 1, 0]
    bare = data.map(lambda row: {"choices": row["choices"]["text"]}, remove_columns="choices")
    task = load_task("rows", encoder(), {}, rows_in_memory(bare))
    assert [example.gold for example in task.examples] == [0, 1, 2, 3]


def test_several_right_classes() -> None:
    rows = [{"text": text, "label": [0, 1]} for text in TEXTS]
    several = Features(text=Value("string"), label=Listed(ClassLabel(names=["good", "bad"])))
    task = load_task("rows", encoder(HEAD), {}, rows_in_memory(Dataset.from_list(rows, features=several)))
    assert [example.golds for example in task.examples] == [(2, 0)] * 4
