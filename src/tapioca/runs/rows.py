"""Rows by their digests: those that a run searched on and was judged on, and those that a checkpoint has seen by that."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from tapioca.disk import write_json
from tapioca.errors import StoreError
from tapioca.reading import explain_damage, read_object
from tapioca.records.results import Domain, FileRecord
from tapioca.runs.fingerprint import add_fingerprint, refuse_changed

RUN_ROWS = "rows.json"
SEEN_ROWS = "seen_rows.json"

R = TypeVar("R", bound=FileRecord)


class RunRows(FileRecord):
    """The rows of a run by their digests, which name them whatever model is asked.

    Attributes:
        search: those that plans were chosen on.
        test: those that they were judged on.
    """

    search: dict[Domain, tuple[str, ...]]
    test: dict[Domain, tuple[str, ...]]

    @property
    def searched(self) -> set[str]:
        """The rows of all data sets that a choice was made on."""
        return {row for rows in self.search.values() for row in rows}


class SeenRows(FileRecord):
    """The rows that a checkpoint was searched or tuned on; no result on them is held out.

    Attributes:
        rows: their digests.
    """

    rows: tuple[str, ...]


def write_run_rows(folder: Path, rows: RunRows) -> None:
    """Keep the rows of a run in its folder."""
    _write(folder / RUN_ROWS, rows)


def read_run_rows(folder: Path) -> RunRows | None:
    """The rows of a run; None of one that was made before they were kept.

    Raises:
        StoreError: the file is damaged.
    """
    return _read(RunRows, folder / RUN_ROWS, "run its command again")


def write_seen_rows(folder: Path, rows: Collection[str]) -> None:
    """Note beside a checkpoint which rows it was searched or tuned on; nothing where none are known."""
    if rows:
        _write(folder / SEEN_ROWS, SeenRows(rows=tuple(sorted(set(rows)))))


def read_seen_rows(folder: Path) -> frozenset[str] | None:
    """The rows that a checkpoint was searched or tuned on; None where nothing says so.

    Raises:
        StoreError: the file is damaged.
    """
    seen = _read(SeenRows, folder / SEEN_ROWS, "export the checkpoint again")
    return None if seen is None else frozenset(seen.rows)


def _write(path: Path, record: FileRecord) -> None:
    write_json(path, add_fingerprint(record.model_dump(mode="json")))


def _read(kind: type[R], path: Path, remedy: str) -> R | None:
    if not os.path.lexists(path):
        return None
    content = read_object(path, StoreError, remedy)
    with explain_damage(path, StoreError, remedy):
        refuse_changed(path, content, remedy)
        return kind(**content)
