"""A limit draws rows before anything is made of them: the same whatever their order, and more of the same when it grows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.limit import Limit
from tapioca.tasks.text import Encoder


class Counting(Encoder):
    """Counts the texts it encodes."""

    calls = 0

    def encode_text(self, text: str) -> list[int]:
        self.calls += 1
        return super().encode_text(text)

    def encode_plain(self, text: str) -> list[int]:
        self.calls += 1
        return super().encode_plain(text)


def load(path: Path, limit: int | None = None, seed: int = 0, **given: Any) -> tuple[Task, int]:
    encoder = Counting(word_tokenizer(), 128)
    task = load_task(str(path), encoder, given, limit=Limit(limit, seed) if limit else None)
    return task, encoder.calls


def ids(task: Task) -> list[str]:
    return [example.id for example in task.examples]


def bare_rows(count: int) -> list[dict]:
    """Different rows without ids or groups."""
    words = ["the", "cat", "sat", "on", "mat"]
    contexts = [" ".join(words[at // 5**place % 5] for place in range(5)) for at in range(count)]
    return [{"context": text, "choices": ["it", "a dog"], "answer": at % 2} for at, text in enumerate(contexts)]


@pytest.mark.parametrize("kind", ["choice", "generate", "perplexity"])
def test_a_limit_encodes_only_the_rows_it_takes(kind: str, tmp_path: Path) -> None:
    rows = [{**row, "text": row["context"], "answer": "it"} for row in bare_rows(2000)]
    task, calls = load(write_lines(tmp_path / "t.jsonl", rows), 20, kind=kind, max_new_tokens=5)
    assert (len(task.examples), task.available) == (20, 2000)
    assert 20 <= calls <= 5 * 20


@pytest.mark.parametrize("rows", [choice_rows(64), bare_rows(64)], ids=["grouped", "bare"])
def test_what_a_limit_takes_is_a_part_of_all_in_the_order_of_the_file(rows: list, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", rows)
    whole, some = load(path)[0], load(path, 20)[0]
    parts = {example.id: example for example in whole.examples}
    assert [name for name in parts if name in ids(some)] == ids(some)
    assert all(example.group == parts[example.id].group for example in some.examples)
    assert load(path, 64)[0].digest == whole.digest == load(path, 1000)[0].digest


def test_a_larger_limit_takes_more_of_the_same(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", bare_rows(100))
    some, more, other = (set(ids(load(path, *asked)[0])) for asked in ((20, 0), (40, 0), (20, 1)))
    assert some < more
    assert some != other


def test_the_order_of_the_file_and_of_its_fields_decides_nothing(tmp_path: Path) -> None:
    rows = bare_rows(100)
    first = write_lines(tmp_path / "a.jsonl", rows)
    again = write_lines(tmp_path / "b.jsonl", [dict(reversed(row.items())) for row in reversed(rows)])
    assert ids(load(first, 20)[0]) == ids(load(again, 20)[0])[::-1]


def test_groups_stay_together(tmp_path: Path) -> None:
    task = load(write_lines(tmp_path / "t.jsonl", choice_rows(60)), 20)[0]
    assert len(set(task.groups)) == 10
    renamed = [{**row, "group": "", "doc": row["group"]} for row in choice_rows(60)]
    by_doc = load(write_lines(tmp_path / "d.jsonl", renamed), 20, fields={"group": "doc"})[0]
    assert ids(by_doc) == ids(task)


def test_rows_that_say_the_same_but_for_their_ids_are_drawn_together(tmp_path: Path) -> None:
    rows = [{**row, "id": f"{at}-{copy}"} for copy in (0, 1) for at, row in enumerate(bare_rows(40))]
    task = load(write_lines(tmp_path / "t.jsonl", rows), 20)[0]
    assert len({name.split("-")[0] for name in ids(task)}) == 10


def test_a_csv_and_what_its_answers_are_is_decided_over_all_rows(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["context", "choices", "answer"])
        writer.writerows([f"the cat {at}", '["1", "2", "3"]', 1 + at % 2] for at in range(99))
        writer.writerow(["the cat", '["1", "2", "3"]', 0])
    task, calls = load(tmp_path / "t.csv", 20)
    assert any("the right one given as an index from 0" in note for note in task.notes)
    assert {example.gold for example in task.examples} <= {0, 1, 2}
    assert calls <= 6 * 20


def test_skipped_rows_are_made_up_for(tmp_path: Path) -> None:
    rows = [{**row, "context": row["context"] + " then" * 200 * (at % 2)} for at, row in enumerate(bare_rows(100))]
    path = write_lines(tmp_path / "t.jsonl", rows)
    task, _ = load(path, 20, too_long="skip")
    assert len(task.examples) == 20
    assert 0 < task.skipped["longer than the model can read"] < 40
    with pytest.raises(
        DataError, match=r"tokens, but the model reads at most 128; .*leave such rows out with --too-long"
    ):
        load(path, 20)


def test_windows_of_long_texts_count_too(tmp_path: Path) -> None:
    rows = [{"id": str(at), "text": "the cat sat " * 20} for at in range(50)]
    path = write_lines(tmp_path / "t.jsonl", rows)
    task, calls = load(path, 20, window=12)
    assert len(task.examples) == 20
    assert calls == 4  # five windows a text
    assert task.available == len(load(path, window=12)[0].examples) == 250
    assert set(ids(task)) < set(ids(load(path, 40, window=12)[0]))


def test_numbers_too(tmp_path: Path) -> None:
    rows = [{"x": [float(at)] * 8, "y": [0.5] * 8} for at in range(100)]
    path = write_lines(tmp_path / "t.jsonl", rows)
    task = load_task(str(path), None, {}, limit=Limit(20, 0))
    assert (len(task.examples), task.available) == (20, 100)
