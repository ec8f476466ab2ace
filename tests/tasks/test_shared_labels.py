"""Labels read off the columns of several data sets of one run: the same for all of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from support.rows import write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.session.data import read_tasks
from tapioca.tasks.base import Task
from tapioca.tasks.chat import Clock
from tapioca.tasks.choice import Choice, Label


def rows(start: str, labels: list[str]) -> list[dict]:
    return [{"text": f"{start} {'then ' * at}", "queue": labels[at % len(labels)]} for at in range(4 * len(labels))]


def read(folder: Path, labels: dict[str, list[str]], **options: object) -> dict[str, Task]:
    """The data sets of a run, each with labels of its own."""
    names = {"ood": "task", "id": "reference", "test": "test"}
    paths = {names[role]: str(write_lines(folder / f"{role}.jsonl", rows(role, labels[role]))) for role in labels}
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    return read_tasks(PruneConfig(model="m", **paths, **options), loaded, {}, Clock(date(2026, 1, 31)))


@pytest.mark.parametrize(
    ("labels", "together", "kind"),
    [
        ({"ood": ["yes", "no"], "id": ["yes", "no", "one"]}, ("no", "one", "yes"), Label),
        ({"ood": ["yes", "no", "one"], "id": ["yes", "two"]}, ("no", "one", "two", "yes"), Label),
        ({"ood": ["yes", "no"], "id": ["two", "one"]}, ("no", "one", "two", "yes"), Label),
        ({"ood": ["yes", "no"], "id": ["yes", "no", "one two"]}, ("no", "one two", "yes"), Choice),
        ({"ood": ["yes", "no"], "test": ["yes", "one"], "id": ["yes", "no"]}, ("no", "one", "yes"), Label),
        ({"ood": ["yes", "no"], "id": ["no", "yes"]}, ("no", "yes"), Label),
    ],
)
def test_labels_are_those_of_all_data_sets(tmp_path: Path, labels: dict, together: tuple, kind: type) -> None:
    tasks = read(tmp_path, labels)
    unlike = len({frozenset(values) for values in labels.values()}) > 1
    for role, task in tasks.items():
        assert type(task) is kind
        assert {example.choices for example in task.examples} == {together}
        assert task.label_counts == dict.fromkeys(sorted(labels[role]), 4)
        assert task.examples[0].text.endswith("\nQueue:")
        note = f"{Path(task.name).name}: labels of all data sets of the run together: {', '.join(together)}"
        assert (note in task.notes) == unlike


def test_labels_that_were_said_stay(tmp_path: Path) -> None:
    tasks = read(tmp_path, {"ood": ["yes", "no"], "id": ["yes", "no"]}, label=("yes", "no", "two"))
    assert {example.choices for task in tasks.values() for example in task.examples} == {("yes", "no", "two")}


def test_labels_that_were_said_of_one_are_those_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "ood.yaml").write_text("labels: ['yes', two, 'no']\n")
    tasks = read(tmp_path, {"ood": ["yes", "no"], "id": ["no", "yes"]})
    assert {example.choices for task in tasks.values() for example in task.examples} == {("yes", "two", "no")}


def test_one_label_in_a_file_is_no_order_of_choices(tmp_path: Path) -> None:
    tasks = read(tmp_path, {"ood": ["yes", "one two"], "id": ["yes"] * 3}, label=("yes", "one two"))
    assert tasks["id"].label_counts == {"yes": 12}
    assert not [note for task in tasks.values() for note in task.notes if "--shuffle-choices" in note]


def test_rows_in_memory_are_refused_with_the_cure() -> None:
    data = {"task": rows("the", ["yes", "no"]), "reference": rows("a", ["yes", "no", "one two"])}
    cure = "--label no --label 'one two' --label yes"
    with pytest.raises(DataError, match=f"^rows and reference rows: their columns have different labels; .*: {cure}$"):
        tapioca.prune(tiny("llama"), word_tokenizer(), **data, progress=False)
