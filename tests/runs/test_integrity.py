"""Damaged stores, records and plans: what is mended, what is refused, and what is said."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tapioca.errors import StoreError, UsageError
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore
from tapioca.runs.fingerprint import add_fingerprint
from tapioca.runs.folder import read_manifest
from tapioca.runs.journal import allows_write_ahead, find_file_system
from tapioca.runs.store import Store

PLANS = [Plan.full(3), Plan.drop(3, [0])]
ANSWERS = [ExampleScore(1.0, -0.25), ExampleScore(0.0, -3.5)]
COST = ComputeCost(0.5, 2.5, 20.0)
EXAMPLES = {"ood": np.arange(4, dtype=np.uint64)}


def fill(folder: Path, finishes: bool = True) -> None:
    with contextlib.suppress(InterruptedError), Store(folder, {"a": 1}, EXAMPLES) as store:
        for plan in PLANS:
            store.record(plan, "b0", ANSWERS, COST)
        if not finishes:
            raise InterruptedError


def change(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "run.sqlite")) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("finishes", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET answers = zeroblob(112) WHERE plan = '{plan}'",
        "UPDATE answers SET batch = 'b9' WHERE plan = '{plan}'",
        "UPDATE answers SET seconds = 0.25 WHERE plan = '{plan}'",
        "UPDATE answers SET difference = 0.25 WHERE plan = '{plan}'",
        "UPDATE answers SET checksum = 'text' WHERE plan = '{plan}'",
        "UPDATE answers SET batch = CAST(batch AS BLOB), tokens = 'many' WHERE plan = '{plan}'",
    ],
)
def test_an_answer_that_is_not_what_was_written_is_computed_again(
    statement: str, finishes: bool, tmp_path: Path
) -> None:
    fill(tmp_path / "run", finishes)
    change(tmp_path / "run", statement.format(plan=PLANS[1].digest))
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.notes == [
            f"{tmp_path / 'run' / 'run.sqlite'} is damaged: 1 of its answers are not what was written; what is missing is "
            "computed again (check the disk)"
        ]
        assert store.recall(PLANS[0], "b0") == ANSWERS
        assert store.recall(PLANS[1], "b0") is None
        assert store.totals()[:2] == (1, 2)
        store.record(PLANS[1], "b0", ANSWERS, COST)
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.notes == []
        assert store.totals() == (2, 4, 1.0)


def test_an_answer_that_a_finished_run_lacks_is_computed_again(tmp_path: Path) -> None:
    fill(tmp_path / "run")
    change(tmp_path / "run", f"DELETE FROM answers WHERE plan = '{PLANS[1].digest}'")
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert "its list of answers is not what was written; what is missing is computed again" in store.notes[0]
        store.record(PLANS[1], "b0", ANSWERS, COST)
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.notes == []


def test_a_finished_run_may_grow(tmp_path: Path) -> None:
    fill(tmp_path / "run")
    with contextlib.suppress(InterruptedError), Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        store.record(PLANS[0], "b1", ANSWERS, COST)
        raise InterruptedError
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.notes == []
        assert store.totals() == (2, 6, 1.5)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE data SET examples = zeroblob(32)", "data 'ood' is not what was written"),
        ("UPDATE data SET role = 'id'", "data 'id' is not what was written"),
        ("UPDATE plans SET json = '{}'", r"plans '\w+' is not what was written"),
        ("ALTER TABLE answers ADD COLUMN extra", "its tables are not those of this program"),
        ("DROP TABLE finished", "its tables are not those of this program"),
    ],
)
def test_other_damage_is_refused(statement: str, problem: str, tmp_path: Path) -> None:
    fill(tmp_path / "run")
    change(tmp_path / "run", statement)
    with pytest.raises(
        StoreError,
        match=rf"run\.sqlite is damaged: {problem}; delete it, and the same command computes its answers again \(check the disk\)$",
    ):
        Store(tmp_path / "run", {"a": 1}, EXAMPLES)
    assert not (tmp_path / "run" / ".tapioca.lock").exists()


@pytest.mark.parametrize("damage", [b"not a database" * 99, b"", None])
def test_a_store_is_begun_anew_where_its_file_was_deleted(damage: bytes | None, tmp_path: Path) -> None:
    fill(tmp_path / "run", finishes=False)
    file = tmp_path / "run" / "run.sqlite"
    if damage:
        file.write_bytes(damage)
        with pytest.raises(StoreError, match=r"run\.sqlite is damaged: file is not a database; delete it"):
            Store(tmp_path / "run", {"a": 1}, EXAMPLES)
    file.unlink()
    if damage is not None:
        file.touch()
        file.with_name("run.sqlite-wal").write_bytes(b"of the file that was deleted")
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.totals()[:2] == (0, 0)
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES | {"ood": np.arange(9, dtype=np.uint64)}):
        pass  # which examples it has is known again


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def replace(folder: Path) -> None:
    shutil.rmtree(folder)
    fill(folder)


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def remove_store(folder: Path) -> None:
    (folder / "run.sqlite").unlink()


@pytest.mark.parametrize("damage", [remove, replace, move_away, remove_store])
def test_a_folder_that_is_gone_is_noticed_at_the_next_batch(damage: Callable[[Path], None], tmp_path: Path) -> None:
    store = Store(tmp_path / "run", {"a": 1}, EXAMPLES)
    store.record(PLANS[0], "b0", ANSWERS, COST)
    damage(tmp_path / "run")
    said = (
        r"was deleted or replaced while this process worked there; nothing more is kept, so run the same command again$"
    )
    with pytest.raises(StoreError, match=said), store:
        store.record(PLANS[1], "b0", ANSWERS, COST)


def test_a_folder_that_is_gone_is_noticed_at_the_end_too(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="was deleted or replaced"), Store(tmp_path / "run", {"a": 1}, EXAMPLES):
        remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_manifest_is_what_was_written(tmp_path: Path) -> None:
    fill(tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.write_text(path.read_text().replace('"a": 1', '"a": 3'))
    with pytest.raises(
        StoreError,
        match=r'manifest\.json is damaged: its "fingerprint" is not that of what stands there; delete .*run and run the same '
        "command again, or take the key out if you changed the file yourself$",
    ):
        Store(tmp_path / "run", {"a": 1}, EXAMPLES)
    path.write_text(json.dumps(add_fingerprint({"a": 1, "c": 0.1})))
    assert read_manifest(tmp_path / "run")["c"] == 0.1


def test_a_plan_file_is_what_was_written() -> None:
    plan = Plan(n_layers=6, layers={2: 0.0}, mlp={3: 0.5})
    text = plan.to_checked_json()
    assert json.loads(text) == {**json.loads(plan.to_json()), "digest": plan.digest}
    assert (
        Plan.from_json(text)
        == Plan.from_json(plan.to_json())
        == Plan.from_json(json.dumps(json.loads(text), indent=2))
        == plan
    )
    with pytest.raises(
        UsageError, match=r'damaged: its "digest" is that of another plan; .* take the digest out if you chan'
    ):
        Plan.from_json(text.replace('"2"', '"1"'))
    with pytest.raises(UsageError, match="not a plan: digesd"):
        Plan.from_json(text.replace("digest", "digesd"))


MOUNTS = r"""
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local\040disk xfs rw 0 0
me@host:/data /data fuse.sshfs rw 0 0
/dev/sdc1 /scratch ext4 rw 0 0
/scratch /scratch lustre rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "file_system", "is_safe"),
    [
        ("/opt/run", "ext4", True),
        ("/home/me/run", "nfs4", False),
        ("/homestead/run", "ext4", True),
        ("/home/local disk/run", "xfs", True),
        ("/data/run", "fuse.sshfs", False),
        ("/scratch/run", "lustre", False),  # mounted over another one
    ],
)
def test_which_file_system_a_folder_is_on(
    folder: str, file_system: str, is_safe: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(MOUNTS.lstrip())
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert find_file_system(Path(folder)) == file_system
    assert allows_write_ahead(file_system) is is_safe


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "NTFS", "fuseblk", ""])
def test_file_systems_of_one_machine(name: str) -> None:
    assert allows_write_ahead(name)


@pytest.mark.parametrize(
    "name", ["nfs", "cifs", "smb3", "smbfs", "gpfs", "beegfs", "9p", "ceph", "glusterfs", "afs", "fuse.s3fs"]
)
def test_file_systems_of_several(name: str) -> None:
    assert not allows_write_ahead(name)


def test_on_a_network_file_system_there_is_no_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "run", finishes=False)
    monkeypatch.setattr("tapioca.runs.store.find_file_system", lambda folder: "nfs4")
    with Store(tmp_path / "run", {"a": 1}, EXAMPLES) as store:
        assert store.notes == [
            f"{tmp_path / 'run'} is on a file system of kind nfs4: answers are kept by a rollback journal, since a "
            "write-ahead log is not safe there"
        ]
        store.record(PLANS[0], "b1", ANSWERS, COST)
        assert not list((tmp_path / "run").glob("run.sqlite-*"))
        assert store.totals() == (2, 6, 1.5)
    assert (tmp_path / "run" / "run.sqlite").read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log
