"""JSON Lines and JSON files as rows."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tapioca.errors import DataError
from tapioca.tasks.rows.source import Source

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_json_lines(file: IO[bytes], path: Path) -> Iterator[Source]:
    """A row for each line that is not blank; a DataError where one is no JSON object in UTF-8."""
    for number, line in enumerate(file, start=1):
        where = f"{path}:{number}"
        text = decode(line, where)
        if text.strip():
            yield Source(_object(_parse(text, where, "a JSON object"), where), where)


def read_json(file: IO[bytes], path: Path) -> Iterator[Source]:
    """The rows of a JSON document; one that holds JSON Lines, as many do, is read as such.

    Raises:
        DataError: it is no JSON, or which of its values are rows cannot be told.
    """
    text = decode(file.read(), str(path))
    if not text.strip():
        return
    try:
        document = _parse(text, str(path), "JSON")
    except DataError:
        if not isinstance(_first_line(text), dict):
            raise
        file.seek(0)
        yield from read_json_lines(file, path)
        return
    for number, row in enumerate(_rows(document, path)):
        where = f"{path} row {number}"
        yield Source(_object(row, where), where)


def decode(content: bytes, where: str) -> str:
    """Bytes as text, without the mark that some programs put in front.

    Raises:
        DataError: they are not UTF-8.
    """
    if content.startswith(UTF_16):
        raise DataError(f"{where} is UTF-16, not UTF-8 text; save it as UTF-8")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _parse(text: str, where: str, expected: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not {expected} ({error})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _object(parsed: Any, where: str) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise DataError(f"{where}: expected a JSON object with named fields, got {type(parsed).__name__}")
    return parsed


def _first_line(text: str) -> Any:
    """What the first line says by itself; None where it is no JSON."""
    try:
        return json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return None


def _rows(document: Any, path: Path) -> list[Any]:
    """The rows of a document: a list, the one list of objects in it, or its columns.

    Columns are lists of one length, or what pandas writes by default: objects whose names count the rows.
    """
    if isinstance(document, list):
        return document
    parts = list(document.values()) if isinstance(document, dict) else []
    lists = [part for part in parts if isinstance(part, list)]
    tables = [part for part in lists if part and all(isinstance(row, dict) for row in part)]
    if len(tables) == len(lists) == 1:
        return tables[0]
    columns = [_column(part) for part in parts]
    lengths = {-1 if column is None else len(column) for column in columns}
    if len(lengths) == 1 and lengths != {-1} and not len(tables) == len(lists) > 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    raise DataError(
        f"{path}: which of this are the rows? expected a list of rows, an object with one such list, or columns of one length"
    )


def _column(column: Any) -> list[Any] | None:
    """A list, or the values of an object whose names are 0, 1, 2, ...; None for anything else."""
    if isinstance(column, dict) and list(column) == [str(number) for number in range(len(column))]:
        return list(column.values())
    return column if isinstance(column, list) else None
