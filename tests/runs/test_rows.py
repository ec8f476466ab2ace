"""Rows by their digests: the same for every model, kept by a run, and taken along by a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import whole_tokenizer, word_tokenizer

from tapioca.commands.export.rows import collect_seen_rows
from tapioca.errors import StoreError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.runs.rows import RunRows, read_run_rows, read_seen_rows, write_run_rows, write_seen_rows
from tapioca.session.data import encoder_of
from tapioca.tasks.files import load_task


def test_a_row_has_one_digest_for_all_tokenizers_and_templates(tmp_path: Path) -> None:
    rows = choice_rows(20)
    path = write_lines(tmp_path / "rows.jsonl", [*rows, {**rows[0], "id": "again"}])
    model = tiny("llama")
    first, second = (
        load_task(str(path), encoder_of(LoadedModel(model, tokenizer)), options).examples
        for tokenizer, options in ((word_tokenizer(), {}), (whole_tokenizer(), {"template": "{{ context }} so"}))
    )
    assert [example.row_digest for example in first] == [example.row_digest for example in second]
    assert len({example.row_digest for example in first}) == 20
    assert {example.content for example in first}.isdisjoint(example.content for example in second)


def test_a_checkpoint_has_seen_what_its_run_searched_on_and_what_its_source_had(tmp_path: Path) -> None:
    rows = RunRows(search={"ood": ("c", "d"), "id": ("e",)}, test={"ood": ("f",), "id": ("g",)})
    run, source, adapter = (tmp_path / name for name in ("run", "source", "adapter"))
    for folder in (run, source, adapter):
        folder.mkdir()
    write_run_rows(run, rows)
    assert read_run_rows(run) == rows
    write_seen_rows(source, ["a"])
    write_seen_rows(adapter, ["b"])
    plan = Plan.drop(8, [3])
    plan.write(run / "plan.json")
    assert collect_seen_rows(source, adapter, None, plan) == {"a", "b"}
    assert collect_seen_rows(source, None, None, run / "plan.json") == {"a", "c", "d", "e"}
    assert collect_seen_rows(tmp_path, None, None, plan.to_json()) is None
    write_seen_rows(tmp_path, [])
    assert read_seen_rows(tmp_path) is None


def test_damaged_rows_are_told(tmp_path: Path) -> None:
    write_seen_rows(tmp_path, ["b", "a", "b"])
    path = tmp_path / "seen_rows.json"
    assert json.loads(path.read_text())["rows"] == ["a", "b"]
    path.write_text(path.read_text().replace('"b"', '"c"'))
    with pytest.raises(
        StoreError, match=r'seen_rows.json is damaged: its "fingerprint" is not that of what stands there'
    ):
        read_seen_rows(tmp_path)
    path.write_text('{"rows": 3}')
    with pytest.raises(
        StoreError, match=r"cannot read .*seen_rows.json: rows: Input should be a valid tuple; export the"
    ):
        read_seen_rows(tmp_path)
