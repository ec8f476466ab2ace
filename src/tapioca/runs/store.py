"""A run folder: `run.sqlite` with every answer, `manifest.json` with everything that could change one.

Each batch of answers is one transaction in a write-ahead log, so that a killed process loses at most
the batch in flight, and the same command goes on where it was.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from tapioca.disk import make_folder, write_json
from tapioca.errors import StoreError
from tapioca.records import (
    Answer,
    CompareInfo,
    DiagnoseInfo,
    Plan,
    ProfileInfo,
    RunInfo,
    ScaleInfo,
    SpaceInfo,
    Spent,
    StudyInfo,
)
from tapioca.runs.fingerprint import fingerprint

Info = TypeVar("Info", RunInfo, CompareInfo, DiagnoseInfo, ProfileInfo, ScaleInfo, SpaceInfo, StudyInfo)

OTHERS: dict[type, str] = {
    CompareInfo: "compare",
    DiagnoseInfo: "diagnose",
    ProfileInfo: "profile",
    ScaleInfo: "scale",
    SpaceInfo: "space",
    StudyInfo: "study",
}
"""The command that leaves each record, which names the record's file."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS plans (digest TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    plan TEXT NOT NULL REFERENCES plans (digest),
    batch TEXT NOT NULL,
    answers BLOB NOT NULL,  -- float64 in the order of the fields of `Answer`, one such row per example of the batch
    seconds REAL NOT NULL,
    layers REAL NOT NULL,  -- times rows, computed for this batch; what plans share is divided among them
    tokens REAL NOT NULL,  -- the same times tokens
    difference REAL,  -- between stacked streams and one alone, largest for the batch; NULL where none were stacked
    PRIMARY KEY (plan, batch)
);
"""

LAYOUT = 3
"""Number of this schema; a store of another one is refused."""


class Store:
    """The answers of one run. Use it as a context manager.

    Args:
        folder: the run folder; made if it is not there.
        manifest: everything that could change an answer. A folder belongs to one manifest for good.

    Raises:
        StoreError: the folder belongs to another run, is no run folder, or cannot be written.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.manifest = claim(folder, manifest)
        with _errors(folder):
            self._db = sqlite3.connect(folder / "run.sqlite", isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            if self._db.execute("SELECT 1 FROM sqlite_master").fetchone() and self._layout() != LAYOUT:
                raise StoreError(
                    f"{folder} was begun by another version of this program; choose another folder with --out"
                )
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT;")
        self._known_plans = {row[0] for row in self._db.execute("SELECT digest FROM plans")}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def _layout(self) -> int:
        """The number of the schema that the store was made with."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def recall(self, plan: Plan, batch: str) -> list[Answer] | None:
        """The answers of a plan to a batch, or None if they are not known."""
        with _errors(self.folder):
            row = self._db.execute(
                "SELECT answers FROM answers WHERE plan = ? AND batch = ?", (plan.digest, batch)
            ).fetchone()
        if row is None:
            return None
        table = np.frombuffer(row[0]).reshape(-1, len(Answer._fields)).tolist()
        return [_answer(*fields) for fields in table]

    def record(self, plan: Plan, batch: str, answers: list[Answer], spent: Spent) -> None:
        """Keep the answers of a plan to a batch, and what they cost, in one transaction."""
        blob = np.array(answers, dtype=np.float64).tobytes()
        with _errors(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if plan.digest not in self._known_plans:
                    self._db.execute("INSERT OR IGNORE INTO plans VALUES (?, ?)", (plan.digest, plan.to_json()))
                self._db.execute(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (plan.digest, batch, blob, *spent),
                )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
        self._known_plans.add(plan.digest)

    def cost(self, plan: Plan, batch: str) -> Spent:
        """A plan's share of what a batch cost when it was run; nothing if it was not."""
        with _errors(self.folder):
            row = self._db.execute(
                "SELECT seconds, layers, tokens, difference FROM answers WHERE plan = ? AND batch = ?",
                (plan.digest, batch),
            ).fetchone()
        return Spent(*row) if row else Spent()

    def difference(self) -> float | None:
        """The largest difference between stacked streams and one alone, over all answers; None where none were
        stacked."""
        with _errors(self.folder):
            row = self._db.execute("SELECT max(difference) FROM answers").fetchone()
        return None if row[0] is None else float(row[0])

    def totals(self) -> tuple[int, int, float]:
        """Plans, plan-example evaluations and seconds in this run so far."""
        with _errors(self.folder):
            row = self._db.execute(
                "SELECT count(DISTINCT plan), total(length(answers)) / ?, total(seconds) FROM answers",
                (8 * len(Answer._fields),),
            ).fetchone()
        return int(row[0]), int(row[1]), float(row[2])


def _answer(
    score: float,
    likelihood: float,
    truncated: float,
    tied: float,
    predicted: float,
    unparsed: float,
    length: float,
) -> Answer:
    """An answer from the numbers a store keeps of it."""
    return Answer(score, likelihood, bool(truncated), bool(tied), int(predicted), bool(unparsed), int(length))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    return read_json(folder, "manifest.json")


def read_run(folder: Path) -> RunInfo:
    """The record of a finished `tapioca prune`.

    Raises:
        StoreError: the folder holds none, or one this version cannot read.
    """
    return _read_record(RunInfo, folder, "run.json", "tapioca prune")


def read_other(kind: type[Info], folder: Path) -> Info | None:
    """The record of another finished command; None where the folder holds none.

    Args:
        kind: one of `OTHERS`.
        folder: the run folder.

    Raises:
        StoreError: it holds one that this version cannot read.
    """
    verb = OTHERS[kind]
    if not (folder / f"{verb}.json").is_file():
        return None
    return _read_record(kind, folder, f"{verb}.json", f"tapioca {verb}")


def _read_record(kind: type[Info], folder: Path, name: str, command: str) -> Info:
    """A record in a run folder, which may have been moved since it was written."""
    try:
        return kind(**{**read_json(folder, name), "folder": folder})
    except ValidationError as error:
        raise StoreError(f"cannot read {folder / name}: {error.errors()[0]['msg']}; run `{command}` again") from error


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """One JSON file of a run folder.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{folder} has no {name}; expected the folder of a finished `tapioca prune`") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {folder / name}: {error}") from error
    if not isinstance(found, dict):
        raise StoreError(f"{folder / name} is not a record of this program")
    return found


def claim(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Make a folder this run's, or check that it is; returns the manifest with its fingerprint.

    Raises:
        StoreError: the folder belongs to another run, is no run folder, or cannot be written.
    """
    make_folder(folder)
    manifest = {**manifest, "fingerprint": fingerprint(manifest)}
    if not _foreign(folder):
        write_json(folder / "manifest.json", manifest)
        return manifest
    if not (folder / "manifest.json").is_file():
        raise StoreError(f"{folder} holds something else than a run; choose another folder with --out")
    found = read_manifest(folder)
    if found.get("fingerprint") != manifest["fingerprint"]:
        differs = sorted(
            key
            for key in found.keys() | manifest.keys()
            if key != "fingerprint" and found.get(key) != manifest.get(key)
        )
        raise StoreError(
            f"{folder} belongs to another run (differs in: {', '.join(differs)}); choose another folder with --out"
        )
    return manifest


def _foreign(folder: Path) -> list[str]:
    """What lies in a folder, but for temporary files a killed process may have left."""
    try:
        return [path.name for path in folder.iterdir() if not (path.name.startswith(".") and path.suffix == ".tmp")]
    except OSError as error:
        raise StoreError(
            f"cannot read {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error


@contextmanager
def _errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite says about the disk into one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot use {folder / 'run.sqlite'}: {error}; free some space, make the folder writable or choose another with --out"
        ) from error
