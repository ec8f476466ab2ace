"""What a run folder keeps while a run works: `run.sqlite` with every answer.

Each batch of answers is one transaction in a write-ahead log, so that a killed process loses at most the batch in
flight, and the same command goes on where it was. An answer's key is its plan and the digest of its batch; whatever else
could change it is in the folder's manifest. So a request for more plans or more examples takes over what it shares with
the one before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tapioca.disk import write_json
from tapioca.errors import StoreError
from tapioca.plan import Answerer
from tapioca.records import ComputeCost, ExampleScore
from tapioca.runs.fingerprint import add_fingerprint
from tapioca.runs.folder import MANIFEST, open_manifest, refuse_differing, without_amounts
from tapioca.runs.integrity import (
    SCHEMA,
    SCHEMA_VERSION,
    checksum_answers,
    checksum_named,
    describe_damage,
    digest_answers,
    find_damage,
    find_damaged_answers,
)
from tapioca.runs.journal import allows_write_ahead, find_file_system
from tapioca.runs.lock import FolderLock, describe_replaced, is_same_file

ADVICE = {
    sqlite3.SQLITE_FULL: "free some space or choose another folder with --out",
    sqlite3.SQLITE_IOERR: "free some space, check the disk, or choose another folder with --out",
    sqlite3.SQLITE_READONLY: "make the folder writable or choose another with --out",
    sqlite3.SQLITE_CANTOPEN: "make the folder writable or choose another with --out",
    sqlite3.SQLITE_PERM: "make the folder writable or choose another with --out",
    sqlite3.SQLITE_BUSY: "close the other program that uses it and run the same command again",
    sqlite3.SQLITE_LOCKED: "close the other program that uses it and run the same command again",
}
"""What to do about an error of SQLite that does not mean that the file is damaged."""


class Store:
    """The answers of one run. Use it as a context manager: where its body ends well, the run is finished, and the
    manifest becomes that of this request.

    Args:
        folder: the run folder; made if it is not there.
        manifest: everything that could change an answer or a choice. A folder belongs to one run for good, which may
            only grow: its settings may differ in `AMOUNT_SETTINGS`, and its data sets may have more examples.
        examples: a digest of each example by data set, uint64; those of before must be among them.
        take_over: take the folder from another process.

    Raises:
        StoreError: the folder is in use, belongs to another run, is no run folder, is damaged, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        examples: Mapping[str, np.ndarray] | None = None,
        take_over: bool = False,
    ):
        self.folder, self.manifest, self.examples = folder, add_fingerprint(manifest), dict(examples or {})
        self.path, self.notes, self._is_finished = folder / "run.sqlite", list[str](), False
        with ExitStack() as stack:
            self._lock = stack.enter_context(FolderLock(folder, take_over))
            before = self._claim_folder()
            with _translate_sqlite_errors(self.path):
                self._db = stack.enter_context(closing(sqlite3.connect(self.path, isolation_level=None)))
                self._open_tables()
                self._known_plans = {row[0] for row in self._db.execute("SELECT digest FROM plans")}
                if not self._holds_examples():
                    if before:
                        refuse_differing(folder, without_amounts(before), without_amounts(self.manifest))
                    self._keep_examples()
            self._made, self._open = self.path.stat(), stack.pop_all()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        with self._open:
            if kind is None:
                self._finish()

    def _claim_folder(self) -> dict[str, Any] | None:
        """Make the folder this run's, or check that it is; returns the manifest of before."""
        if before := open_manifest(self.folder):
            refuse_differing(self.folder, without_amounts(before), without_amounts(self.manifest), may_differ={"data"})
        else:
            write_json(self.folder / MANIFEST, self.manifest)
        return before

    def _open_tables(self) -> None:
        """Make the tables, or check those that are there."""
        file_system = find_file_system(self.folder)
        self._db.execute(f"PRAGMA journal_mode = {'WAL' if allows_write_ahead(file_system) else 'DELETE'}")
        if not allows_write_ahead(file_system):
            self.notes.append(
                f"{self.folder} is on a file system of kind {file_system}: answers are kept by a rollback journal, since a write-ahead log is not safe there"
            )
        if self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._refuse_or_mend_damage()
        else:
            self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _refuse_or_mend_damage(self) -> None:
        """Read all that was stored; answers that are not what was written are taken out, to be computed again."""
        if self._db.execute("PRAGMA user_version").fetchone() != (SCHEMA_VERSION,):
            raise StoreError(
                f"{self.folder} was begun by another version of this program; choose another folder with --out"
            )
        if problem := find_damage(self._db):
            raise StoreError(describe_damage(self.path, problem))
        self._is_finished = self._db.execute("SELECT 1 FROM finished").fetchone() is not None
        damaged, is_incomplete = find_damaged_answers(self._db)
        if damaged or is_incomplete:
            rows = [(number,) for number in damaged]
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM answers WHERE rowid = ?", rows)
                self._db.execute("DELETE FROM finished")
            what = f"{len(damaged)} of its answers are" if damaged else "its list of answers is"
            self.notes.append(
                f"{self.path} is damaged: {what} not what was written; what is missing is computed again (check the disk)"
            )

    def _finish(self) -> None:
        """Remember that this request has all of its answers, and which examples it has."""
        self._lock.check()
        with _translate_sqlite_errors(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._keep_examples()
            checksums = [row[0] for row in self._db.execute("SELECT checksum FROM answers")]
            self._db.execute("DELETE FROM finished")
            self._db.execute("INSERT INTO finished VALUES (?)", (digest_answers(checksums),))
        write_json(self.folder / MANIFEST, self.manifest)

    def _keep_examples(self) -> None:
        """Remember which examples the run has."""
        blobs = {role: digests.astype(np.uint64).tobytes() for role, digests in self.examples.items()}
        rows = [(role, blob, checksum_named(role, blob)) for role, blob in blobs.items()]
        self._db.executemany("INSERT OR REPLACE INTO data VALUES (?, ?, ?)", rows)

    def _holds_examples(self) -> bool:
        """Whether the request has the data sets of the run before, and all of their examples."""
        rows = self._db.execute("SELECT role, examples FROM data")
        before = {role: np.frombuffer(blob, np.uint64) for role, blob in rows}
        return before.keys() == self.examples.keys() and all(
            bool(np.isin(digests, self.examples[role]).all()) for role, digests in before.items()
        )

    def recall(self, plan: Answerer, batch: str) -> list[ExampleScore] | None:
        """The answers of a plan to a batch, or None if they are not known."""
        with _translate_sqlite_errors(self.path):
            row = self._db.execute(
                "SELECT answers FROM answers WHERE plan = ? AND batch = ?", (plan.digest, batch)
            ).fetchone()
        if row is None:
            return None
        table = np.frombuffer(row[0]).reshape(-1, len(ExampleScore._fields)).tolist()
        return [_answer_from_row(row) for row in table]

    def record(self, plan: Answerer, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
        """Keep the answers of a plan to a batch, and what they cost, in one transaction.

        Raises:
            StoreError: the disk is full, or the folder is not there any more or another process's.
        """
        self._lock.check()
        if not is_same_file(self.path, self._made):
            raise StoreError(describe_replaced(self.path))
        digest, blob = plan.digest, np.array(answers, dtype=np.float64).tobytes()
        costs = spent.seconds, spent.layers, spent.tokens, spent.difference
        checksum = checksum_answers(digest, batch, blob, *costs)
        with _translate_sqlite_errors(self.path), self._db:  # which ends the transaction
            self._db.execute("BEGIN IMMEDIATE")
            if self._is_finished:
                self._db.execute("DELETE FROM finished")
            if digest not in self._known_plans:
                json = plan.to_json()
                self._db.execute(
                    "INSERT OR IGNORE INTO plans VALUES (?, ?, ?)", (digest, json, checksum_named(digest, json))
                )
            self._db.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (digest, batch, blob, *costs, checksum)
            )
        self._known_plans.add(digest)
        self._is_finished = False

    def recall_cost(self, plan: Answerer, batch: str) -> ComputeCost:
        """A plan's share of what a batch cost when it was run; nothing if it was not."""
        with _translate_sqlite_errors(self.path):
            row = self._db.execute(
                "SELECT seconds, layers, tokens, difference FROM answers WHERE plan = ? AND batch = ?",
                (plan.digest, batch),
            ).fetchone()
        return ComputeCost(*row) if row else ComputeCost()

    def largest_difference(self) -> float | None:
        """The largest difference between stacked streams and one alone, over all answers; None where none were
        stacked."""
        with _translate_sqlite_errors(self.path):
            row = self._db.execute("SELECT max(difference) FROM answers").fetchone()
        return None if row[0] is None else float(row[0])

    def totals(self) -> tuple[int, int, float]:
        """Plans, plan-example evaluations and seconds in this run so far."""
        with _translate_sqlite_errors(self.path):
            row = self._db.execute(
                "SELECT count(DISTINCT plan), total(length(answers)) / ?, total(seconds) FROM answers",
                (8 * len(ExampleScore._fields),),
            ).fetchone()
        return int(row[0]), int(row[1]), float(row[2])


def _answer_from_row(row: list[float]) -> ExampleScore:
    """An answer from the numbers a store keeps of it."""
    score, log_likelihood, truncated, tied, predicted, unparsed, length = row
    return ExampleScore(score, log_likelihood, bool(truncated), bool(tied), int(predicted), bool(unparsed), int(length))


@contextmanager
def _translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the disk into one line."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # a message of SQLite's may quote what is no text
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code not in ADVICE:
            raise StoreError(describe_damage(path, " ".join(str(error).split()))) from error
        raise StoreError(f"cannot use {path}: {error}; {ADVICE[code]}") from error
