"""What a run folder keeps: `run.sqlite` with every answer, and the records of finished commands.

Each batch of answers is one transaction in a write-ahead log, so that a killed process loses at most the batch in
flight, and the same command goes on where it was. An answer's key is its plan and the digest of its batch; whatever else
could change it is in the folder's manifest. So a request for more plans or more examples takes over what it shares with
the one before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from tapioca.disk import write_json, write_text
from tapioca.errors import StoreError
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore
from tapioca.records.results import Record, RunHeader
from tapioca.runs.folder import MANIFEST, add_fingerprint, open_manifest, read_json, refuse_differing, without_amounts

Info = TypeVar("Info", bound=Record)

SCHEMA = """
CREATE TABLE IF NOT EXISTS plans (digest TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    plan TEXT NOT NULL REFERENCES plans (digest),
    batch TEXT NOT NULL,
    answers BLOB NOT NULL,  -- float64 in the order of the fields of `ExampleScore`, one such row per example of the batch
    seconds REAL NOT NULL,
    layers REAL NOT NULL,  -- times rows, computed for this batch; what plans share is divided among them
    tokens REAL NOT NULL,  -- the same times tokens
    difference REAL,  -- between stacked streams and one alone, largest for the batch; NULL where none were stacked
    PRIMARY KEY (plan, batch)
);
CREATE TABLE IF NOT EXISTS data (role TEXT PRIMARY KEY, examples BLOB NOT NULL);  -- uint64, a digest of each example
"""

SCHEMA_VERSION = 3
"""Number of this schema; a store of another one is refused."""


class Store:
    """The answers of one run. Use it as a context manager: where its body ends well, the run is finished, and the
    manifest becomes that of this request.

    Args:
        folder: the run folder; made if it is not there.
        manifest: everything that could change an answer or a choice. A folder belongs to one run for good, which may
            only grow: its settings may differ in `AMOUNT_SETTINGS`, and its data sets may have more examples.
        examples: a digest of each example by data set, uint64; those of before must be among them.

    Raises:
        StoreError: the folder belongs to another run, is no run folder, or cannot be written.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], examples: Mapping[str, np.ndarray] | None = None):
        self.folder, self.manifest, self.examples = folder, add_fingerprint(manifest), dict(examples or {})
        if before := open_manifest(folder):
            comparable_manifests = without_amounts(before), without_amounts(self.manifest)
            refuse_differing(folder, *comparable_manifests, may_differ={"data"})
        else:
            write_json(folder / MANIFEST, self.manifest)
        with _translate_sqlite_errors(folder):
            self._db = sqlite3.connect(folder / "run.sqlite", isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            is_begun = self._db.execute("SELECT 1 FROM sqlite_master").fetchone()
            if is_begun and self._read_schema_version() != SCHEMA_VERSION:
                raise StoreError(
                    f"{folder} was begun by another version of this program; choose another folder with --out"
                )
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            self._known_plans = {row[0] for row in self._db.execute("SELECT digest FROM plans")}
            if before is None:
                self._keep_examples()
            elif not self._holds_examples():
                refuse_differing(folder, *comparable_manifests)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None:
                with _translate_sqlite_errors(self.folder):
                    self._keep_examples()
                write_json(self.folder / MANIFEST, self.manifest)
        finally:
            self._db.close()

    def _keep_examples(self) -> None:
        """Remember which examples the run has."""
        rows = [(role, digests.astype(np.uint64).tobytes()) for role, digests in self.examples.items()]
        self._db.executemany("INSERT OR REPLACE INTO data VALUES (?, ?)", rows)

    def _holds_examples(self) -> bool:
        """Whether the request has the data sets of the run before, and all of their examples."""
        before = {role: np.frombuffer(blob, np.uint64) for role, blob in self._db.execute("SELECT * FROM data")}
        return before.keys() == self.examples.keys() and all(
            bool(np.isin(digests, self.examples[role]).all()) for role, digests in before.items()
        )

    def _read_schema_version(self) -> int:
        """The number of the schema that the store was made with."""
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def recall(self, plan: Plan, batch: str) -> list[ExampleScore] | None:
        """The answers of a plan to a batch, or None if they are not known."""
        with _translate_sqlite_errors(self.folder):
            row = self._db.execute(
                "SELECT answers FROM answers WHERE plan = ? AND batch = ?", (plan.digest, batch)
            ).fetchone()
        if row is None:
            return None
        table = np.frombuffer(row[0]).reshape(-1, len(ExampleScore._fields)).tolist()
        return [_answer_from_row(row) for row in table]

    def record(self, plan: Plan, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
        """Keep the answers of a plan to a batch, and what they cost, in one transaction."""
        blob = np.array(answers, dtype=np.float64).tobytes()
        with _translate_sqlite_errors(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if plan.digest not in self._known_plans:
                    self._db.execute("INSERT OR IGNORE INTO plans VALUES (?, ?)", (plan.digest, plan.to_json()))
                self._db.execute(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (plan.digest, batch, blob, *astuple(spent)),
                )
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
        self._known_plans.add(plan.digest)

    def recall_cost(self, plan: Plan, batch: str) -> ComputeCost:
        """A plan's share of what a batch cost when it was run; nothing if it was not."""
        with _translate_sqlite_errors(self.folder):
            row = self._db.execute(
                "SELECT seconds, layers, tokens, difference FROM answers WHERE plan = ? AND batch = ?",
                (plan.digest, batch),
            ).fetchone()
        return ComputeCost(*row) if row else ComputeCost()

    def largest_difference(self) -> float | None:
        """The largest difference between stacked streams and one alone, over all answers; None where none were
        stacked."""
        with _translate_sqlite_errors(self.folder):
            row = self._db.execute("SELECT max(difference) FROM answers").fetchone()
        return None if row[0] is None else float(row[0])

    def totals(self) -> tuple[int, int, float]:
        """Plans, plan-example evaluations and seconds in this run so far."""
        with _translate_sqlite_errors(self.folder):
            row = self._db.execute(
                "SELECT count(DISTINCT plan), total(length(answers)) / ?, total(seconds) FROM answers",
                (8 * len(ExampleScore._fields),),
            ).fetchone()
        return int(row[0]), int(row[1]), float(row[2])


def _answer_from_row(row: list[float]) -> ExampleScore:
    """An answer from the numbers a store keeps of it."""
    score, log_likelihood, truncated, tied, predicted, unparsed, length = row
    return ExampleScore(score, log_likelihood, bool(truncated), bool(tied), int(predicted), bool(unparsed), int(length))


def write_record(record: RunHeader, name: str) -> None:
    """Write what a command found into its run folder."""
    write_text(record.folder / name, record.model_dump_json(indent=2) + "\n")


def read_record(kind: type[Info], folder: Path, name: str, command: str) -> Info:
    """What a finished command left in its run folder, which may have been moved since.

    Args:
        kind: the class of the record.
        folder: the run folder.
        name: of the file.
        command: that left it.

    Raises:
        StoreError: the folder holds none, or one that this version cannot read.
    """
    try:
        return kind(**{**read_json(folder, name), "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"cannot read {folder / name}, perhaps of another version: {key}: {first['msg']}; run `tapioca {command}` again"
        ) from error


@contextmanager
def _translate_sqlite_errors(folder: Path) -> Iterator[None]:
    """Turn what SQLite says about the disk into one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot use {folder / 'run.sqlite'}: {error}; free some space, make the folder writable or choose another with --out"
        ) from error
