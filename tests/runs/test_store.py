"""The store: what is kept is found again, folders belong to one run, and a full disk is one clear line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tapioca.commands import read_result
from tapioca.commands.prune.result import read_run
from tapioca.disk import write_json, write_text
from tapioca.errors import StoreError
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore
from tapioca.runs.fingerprint import fingerprint
from tapioca.runs.store import Store

ANSWERS = [
    ExampleScore(1.0, -0.25, tied=True),
    ExampleScore(0.0, -3.5, truncated=True),
    ExampleScore(1.0, -2.0, predicted=2, unparsed=True, length=9),
]


def test_costs_add_up_and_are_shared() -> None:
    cost = ComputeCost(seconds=1.0, layers=6.0, tokens=9.0)
    cost.add(ComputeCost(difference=2e-7))
    cost.add(ComputeCost(seconds=0.5, layers=3.0, tokens=6.0, difference=1e-7))
    assert cost == ComputeCost(1.5, 9.0, 15.0, 2e-7)
    assert cost.share(3) == ComputeCost(0.5, 3.0, 5.0, 2e-7)  # a difference is no amount


def test_answers_survive_and_are_exact(tmp_path: Path) -> None:
    with Store(tmp_path / "run", {"a": 1}) as store:
        assert store.recall(Plan.full(3), "b0") is None
        store.record(Plan.full(3), "b0", ANSWERS, ComputeCost(0.5, 2.5, 20.0))
        assert store.largest_difference() is None
        store.record(Plan.full(3), "b2", ANSWERS, ComputeCost(0.5, 2.5, 20.0, 2e-7))
        store.record(Plan.full(3), "b3", ANSWERS, ComputeCost(0.5, 2.5, 20.0, 1e-7))
    with Store(tmp_path / "run", {"a": 1}) as store:
        assert store.recall(Plan.full(3), "b0") == ANSWERS
        assert store.recall(Plan.drop(3, [0]), "b0") is None
        assert store.recall(Plan.full(3), "b1") is None
        assert store.totals() == (1, 9, 1.5)
        costs = [store.recall_cost(Plan.full(3), batch) for batch in ("b0", "b1", "b2")]
        assert costs == [ComputeCost(0.5, 2.5, 20.0), ComputeCost(), ComputeCost(0.5, 2.5, 20.0, 2e-7)]
        assert store.largest_difference() == 2e-7


@pytest.mark.parametrize("layout", [0, 1, 2, 3, 5])
def test_a_store_of_another_layout_is_refused(tmp_path: Path, layout: int) -> None:
    with Store(tmp_path / "run", {"a": 1}) as store:
        store.record(Plan.full(3), "b0", ANSWERS, ComputeCost())
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as database:
        database.execute(f"PRAGMA user_version = {layout}")
    with pytest.raises(StoreError, match="begun by another version of this program; choose another folder with --out"):
        Store(tmp_path / "run", {"a": 1})


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    with Store(tmp_path / "run", {"a": 1, "b": 2}):
        pass
    with pytest.raises(StoreError, match=r"belongs to another run \(differs in: a\)"):
        Store(tmp_path / "run", {"a": 3, "b": 2})


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="something else than a run"):
        Store(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match=r"cannot use .*run as a folder"):
        Store(tmp_path / "run", {})


def test_a_full_database_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "run", {}) as store:
        store.record(Plan.full(3), "b0", ANSWERS, ComputeCost())
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="full; free some space"):
            store.record(Plan.full(3), "b1", ANSWERS * 100_000, ComputeCost())
        assert store.recall(Plan.full(3), "b0") == ANSWERS
        assert store.recall(Plan.full(3), "b1") is None


def test_a_damaged_database_is_one_clear_line(tmp_path: Path) -> None:
    with Store(tmp_path / "run", {}):
        pass
    for path in tmp_path.glob("run/run.sqlite*"):
        path.write_bytes(b"not a database" * 500)
    with pytest.raises(StoreError, match=r"run\.sqlite"):
        Store(tmp_path / "run", {})


def test_a_finished_run_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no run\.json"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot read"):
        read_run(tmp_path)


def test_records_of_another_version_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"command": "tapioca prune m", "likelihood": 0.5}')
    with pytest.raises(
        StoreError, match=r"cannot read .*run.json: \w+: Field required; perhaps it is of another version, run"
    ):
        read_run(tmp_path)
    (tmp_path / "space.json").write_text("{}")
    with pytest.raises(
        StoreError, match=r"space.json is of an older version; run `tapioca enumerate` to measure it again"
    ):
        read_result(tmp_path)


def test_fingerprints_ignore_order_and_nothing_else() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.txt", float("nan"))
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(StoreError, match="cannot write"):
        write_text(tmp_path / "no" / "such" / "folder.txt", "x")
