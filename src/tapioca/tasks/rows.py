"""Read data files and hub data sets into rows, each with the place it came from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
from tapioca.tasks.spec import HUB, options_of

READABLE = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Source:
    """One row of a file: its fields, and "file:line" for messages."""

    fields: dict[str, Any]
    where: str


def read_rows(path: Path) -> list[Source]:
    """All rows of a .jsonl, .csv or .parquet file, blank lines passed over; or of a hub data set.

    Args:
        path: a file; or "hub:ID", with `name` (the configuration) and `split` behind commas, where ID may also be a
            local folder the datasets library can load.

    Raises:
        DataError: the file is missing, empty, not UTF-8, of another type, or has a malformed line; or there is no such
            data set, configuration or split.
    """
    if str(path).startswith(HUB):
        return _hub(str(path))
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise DataError(f"{path}: cannot read '{path.suffix}' files; expected {' or '.join(READABLE)}, or a task .yaml")
    if suffix == ".parquet":
        return _parquet(path)
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


def _parquet(path: Path) -> list[Source]:
    """Rows of a Parquet file."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        with path.open("rb") as file:
            rows = read_table(file).to_pylist()
    except (OSError, ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"cannot read {path}: {reason}") from error
    if not rows:
        raise DataError(f"{path} has no rows; expected at least one")
    return [Source(row, f"{path} row {at}") for at, row in enumerate(rows)]


def _hub(name: str) -> list[Source]:
    """Rows of one split of a hub data set: the validation split, else the training split, or the one asked for."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    bare, options = options_of(name, ("name", "split"))
    try:
        splits = load_dataset(bare, options["name"] or None)
    except Exception as error:  # the network, the hub, or any file of the data set
        raise DataError(f"cannot load the data set '{bare}': {' '.join(str(error).split())[:200]}") from error
    split = options["split"] or next((known for known in ("validation", "train") if known in splits), "")
    if split not in splits:
        raise DataError(f"{name}: which split? say {name},split=...; known: {', '.join(sorted(splits))}")
    if not len(splits[split]):
        raise DataError(f"{name}: the {split} split has no rows; expected at least one")
    return [Source(dict(row), f"{bare} {split} row {at}") for at, row in enumerate(splits[split])]


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
