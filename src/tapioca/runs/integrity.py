"""Whether a store still holds what was written: each row ends with a checksum over the others of its cells, and a finished
run has one over all of its answers."""

import hashlib
import math
import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

SCHEMA = """
CREATE TABLE plans (digest TEXT PRIMARY KEY, json TEXT NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE answers (
    plan TEXT NOT NULL REFERENCES plans (digest),
    batch TEXT NOT NULL,
    answers BLOB NOT NULL,  -- float64 in the order of the fields of `ExampleScore`, one such row per example of the batch
    seconds REAL NOT NULL,
    layers REAL NOT NULL,  -- times rows, computed for this batch; what plans share is divided among them
    tokens REAL NOT NULL,  -- the same times tokens
    difference REAL,  -- between stacked streams and one alone, largest for the batch; NULL where none were stacked
    checksum BLOB NOT NULL,
    PRIMARY KEY (plan, batch)
);
CREATE TABLE data (role TEXT PRIMARY KEY, examples BLOB NOT NULL, checksum BLOB NOT NULL);  -- uint64, a digest of each example
CREATE TABLE finished (digest BLOB NOT NULL);  -- of the answers' checksums; no row while a run is not finished
"""

SCHEMA_VERSION = 4
"""Number of this schema; a store of another one is refused."""


def checksum_answers(
    plan: str, batch: str, answers: bytes, seconds: float, layers: float, tokens: float, difference: float | None
) -> bytes:
    """Eight bytes over key and values of a row of answers."""
    costs = struct.pack("<4d", seconds, layers, tokens, math.nan if difference is None else difference)
    return _digest(f"{plan}|{batch}|".encode(), costs, answers)


def checksum_named(name: str, value: str | bytes) -> bytes:
    """Eight bytes over key and value of a row of the other tables."""
    return _digest(name.encode(), value if isinstance(value, bytes) else value.encode())


def digest_answers(checksums: Iterable[bytes]) -> bytes:
    """Eight bytes over all answers, their number and their checksums, whatever their order."""
    ordered = sorted(checksums)
    return _digest(b"%d" % len(ordered), *ordered)


def describe_damage(path: Path, problem: str) -> str:
    """What is said of a store that cannot be used any more."""
    return f"{path} is damaged: {problem}; delete it, and the same command computes its answers again (check the disk)"


def find_damage(database: sqlite3.Connection) -> str:
    """What is wrong with a store beside single answers; empty where nothing is."""
    [problem] = database.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        return " ".join(str(problem).split())
    if _list_tables(database) != _list_tables(_make_empty()):
        return "its tables are not those of this program"
    for table in ("plans", "data"):
        for name, value, checksum in database.execute(f"SELECT * FROM {table}"):
            if not _is_made_by(checksum_named, (name, value), checksum):
                return f"{table} '{name}' is not what was written"
    return ""


def find_damaged_answers(database: sqlite3.Connection) -> tuple[list[int], bool]:
    """The numbers of the rows whose answers are not what was written, and whether a finished run lacks any."""
    damaged, intact = [], []
    for number, *cells, checksum in database.execute("SELECT rowid, * FROM answers"):
        if _is_made_by(checksum_answers, cells, checksum):
            intact.append(checksum)
        else:
            damaged.append(number)
    finished = database.execute("SELECT digest FROM finished").fetchone()
    return damaged, finished is not None and finished[0] != digest_answers(intact)


def _is_made_by(make_checksum: Callable[..., bytes], cells: Sequence[object], checksum: object) -> bool:
    """Whether a checksum is of these cells, whose types may be as damaged as their values."""
    try:
        return make_checksum(*cells) == checksum
    except (AttributeError, TypeError, ValueError, struct.error):
        return False


def _make_empty() -> sqlite3.Connection:
    """A store in memory that holds nothing."""
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    return database


def _list_tables(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    return database.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest()
