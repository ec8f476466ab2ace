"""Read data files into rows, each with the place it came from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapioca.errors import DataError

READABLE = (".jsonl", ".csv")


@dataclass(frozen=True)
class Source:
    """One row of a file: its fields, and "file:line" for messages."""

    fields: dict[str, Any]
    where: str


def read_rows(path: Path) -> list[Source]:
    """All rows of a .jsonl or .csv file; blank lines are passed over.

    Raises:
        DataError: the file is missing, empty, not UTF-8, of another type, or has a malformed line.
    """
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise DataError(f"{path}: cannot read '{path.suffix}' files; expected {' or '.join(READABLE)}, or a task .yaml")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    rows = list(_json_lines(path, text) if suffix == ".jsonl" else _csv_lines(path, text))
    if not rows:
        raise DataError(f"{path} has no rows; expected at least one")
    return rows


def _json_lines(path: Path, text: str) -> Iterator[Source]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            fields = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not a JSON object ({error})") from error
        if not isinstance(fields, dict):
            raise DataError(f"{where}: expected a JSON object with named fields, got {type(fields).__name__}")
        yield Source(fields, where)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _csv_lines(path: Path, text: str) -> Iterator[Source]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        if len(set(header)) < len(header):
            raise DataError(f"{path}:1: two columns share a name; columns must differ")
        for fields in reader:
            where = f"{path}:{reader.line_num}"
            if None in fields or None in fields.values():
                raise DataError(
                    f"{where}: expected {len(reader.fieldnames or ())} columns as in the header, got another number"
                )
            yield Source({name: _cell(value) for name, value in fields.items()}, where)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: malformed CSV ({error})") from error


def _cell(value: str) -> Any:
    """A cell that holds a JSON list (choices, numbers) is read as one; anything else stays text."""
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
