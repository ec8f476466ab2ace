"""Rows by their digests: the same for every model, kept by a run, and taken along by a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import whole_tokenizer, word_tokenizer

import tapioca
from tapioca.errors import StoreError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.runs.rows import read_run_rows, read_seen_rows, write_seen_rows
from tapioca.session.data import encoder_of
from tapioca.tasks.files import load_task

OPTIONS = {"task": "lab:context_noise=0.5,n=40", "reference": "lab:id,n=40", "batch_size": 20, "random_plans": 0}


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


def test_an_export_has_the_rows_its_run_searched_on_and_those_of_its_source(tmp_path: Path) -> None:
    run = tapioca.prune("learner", out=tmp_path / "run", progress=False, max_drops=1, **OPTIONS)
    rows = read_run_rows(run.folder)
    assert rows
    assert {domain: len(part) for domain, part in rows.search.items()} == {"ood": 20, "id": 20}
    assert len(rows.searched) == 40
    assert rows.searched.isdisjoint(row for part in rows.test.values() for row in part)
    plan = Plan.drop(8, [3])
    exported = tapioca.export(run, tmp_path / "pruned", plan)
    assert read_seen_rows(tmp_path / "pruned") == rows.searched
    assert exported.seen_rows == 40
    card = (tmp_path / "pruned" / "README.md").read_text(encoding="utf-8")
    assert "Digests of the 40 rows that it was searched or tuned on are in `seen_rows.json`" in card
    again = tapioca.export(tmp_path / "pruned", tmp_path / "shorter", Plan.drop(7, [0]))
    assert again.left_out == ()
    assert read_seen_rows(tmp_path / "shorter") == rows.searched
    plan.write(run.folder / "other.json")
    tapioca.export("learner", tmp_path / "by_file", run.folder / "other.json")
    assert read_seen_rows(tmp_path / "by_file") == rows.searched
    tapioca.export("learner", tmp_path / "unknown", plan)
    assert read_seen_rows(tmp_path / "unknown") is None


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
