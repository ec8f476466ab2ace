"""The description of a file that was guessed: written as a YAML that reads the same, never over another file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError, UsageError
from tapioca.tasks.describe import write_description
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

TEXTS = ["the cat", "a dog", "the dog sat", "a cat ran", "the cat ran on", "a dog sat on"]


def encoder(heads: tuple[str, ...] | None = None) -> Encoder:
    return Encoder(word_tokenizer(), 128, heads)


def table(place: Path, columns: dict[str, list]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return write_lines(place, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


@pytest.mark.parametrize(
    ("columns", "heads", "written"),
    [
        ({"text": TEXTS, "queue": ["yes", "no"] * 3}, None, {"kind": "label", "labels": ["no", "yes"], "answers": "choice", "fields": {"answer": "queue"}, "template": "{{ text }}\nQueue:"}),
        ({"text": TEXTS, "type": ["yes: no", "# no\n\x07"] * 3}, None, {"kind": "choice", "labels": ["# no\n\x07", "yes: no"], "answers": "choice", "fields": {"answer": "type"}, "template": "{{ text }}\nType:"}),
        ({"Body of it": TEXTS, "label": ["yes", "no"] * 3}, None, {"kind": "label", "labels": ["no", "yes"], "answers": "choice", "fields": {"answer": "label", "text": "Body of it"}, "template": "{{ text }}\nLabel:"}),
        ({"question": TEXTS, "choices": [["sat", "ran"]] * 6, "answer": [0, 1] * 3}, None, {"kind": "choice", "template": "Question: {{ question }}\nAnswer:"}),
        ({"note": TEXTS, "queue": ["b", "a"] * 3}, ("a", "b"), {"kind": "classify", "fields": {"label": "queue", "text": "note"}, "template": "{{ text }}"}),
        ({"id": range(6), "text": TEXTS}, None, {"kind": "perplexity"}),
        ({"x": [[0.0, 1, 2, 3, 4, 5]] * 6, "y": [[n, 1, 2, 3, 4, 5] for n in range(6)]}, None, {"kind": "regression"}),
    ],
)  # fmt: skip
def test_a_description_reads_as_the_file_did(
    tmp_path: Path, columns: dict, heads: tuple[str, ...] | None, written: dict
) -> None:
    data, place = table(tmp_path / "a b" / "t.jsonl", columns), tmp_path / "task.yaml"
    write_description(str(data), encoder(heads), {}, place)
    assert yaml.safe_load(place.read_text()) == {"data": "a b/t.jsonl", **written}
    assert load_task(str(place), encoder(heads), {}).digest == load_task(str(data), encoder(heads), {}).digest


def test_what_was_said_stands_beside_what_was_guessed(tmp_path: Path) -> None:
    data, place = table(tmp_path / "t.jsonl", {"text": TEXTS, "queue": ["yes", "no"] * 3}), tmp_path / "own.yaml"
    data.with_suffix(".yaml").write_text("note: careful\ntoo_long: skip\n")
    given: dict[str, Any] = {"labels": ("no", "yes"), "normalize": "tokens"}
    write_description(str(data), encoder(), given, place)
    assert place.read_text().splitlines() == [
        "# t.jsonl as it is read; what was guessed may be wrong: edit it, then name this file as the task",
        "# t.jsonl: read as a label task, by its field text, answer is 'queue'",
        "data: t.jsonl",
        "# guessed; others: choice, label, generate, classify, perplexity, regression",
        "kind: label",
        "fields:",
        "  # guessed: answer; the columns are 'text' (6 values), 'queue' (no, yes)",
        "  answer: queue",
        "# guessed; jinja2 over the columns, {{ row['A name'] }} where a name holds a space",
        'template: "{{ text }}\\nQueue:"',
        "labels: ['no', 'yes']",
        "normalize: tokens",
        "note: careful",
        "too_long: skip",
    ]
    assert load_task(str(place), encoder(), {}).digest == load_task(str(data), encoder(), given).digest


def test_folders_patterns_and_saved_data_are_named_from_the_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path / "parts" / "1.jsonl", {"text": TEXTS, "label": ["yes", "no"] * 3})
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0] * 3})
    rows.cast_column("label", datasets.ClassLabel(names=["no", "yes"])).save_to_disk(str(tmp_path / "saved"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for number, name in enumerate(["parts", "parts/*.jsonl", "saved", "hub:saved"]):
        place = Path("deep") / f"{number}.yaml"
        write_description(name, encoder(), {}, place)
        digest = load_task(name, encoder(), {}).digest
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path / "deep")
            assert load_task(place.name, encoder(), {}).digest == digest


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    data, place = table(tmp_path / "t.jsonl", {"text": TEXTS}), tmp_path / "task.yaml"
    place.write_text("mine")
    with pytest.raises(UsageError, match=r"task\.yaml is there already and is not overwritten; give --write another"):
        write_description(str(data), encoder(), {}, place)
    assert place.read_text() == "mine"
    with pytest.raises(UsageError, match=r"cannot write .*no/task\.yaml: No such file or directory; make its folder"):
        write_description(str(data), encoder(), {}, tmp_path / "no" / "task.yaml")


def test_an_unclear_file_is_told_of_it(tmp_path: Path) -> None:
    data = table(tmp_path / "t.jsonl", {"text": TEXTS, "url": TEXTS[::-1]})
    with pytest.raises(DataError, match=r"; tapioca tasks FILE with these and --write task\.yaml makes a description"):
        write_description(str(data), encoder(), {}, tmp_path / "task.yaml")
    assert not (tmp_path / "task.yaml").exists()
