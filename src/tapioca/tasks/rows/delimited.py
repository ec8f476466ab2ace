"""Tables as text, with commas, semicolons or tabs between the columns."""

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tapioca.errors import DataError
from tapioca.tasks.rows.source import Source
from tapioca.tasks.rows.text import decode

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
"""A text as Python writes it."""

NEIGHBOURS = re.compile(r"_\s*_")
"""Two texts, each written _, with no comma between them, as numpy prints them."""

csv.field_size_limit(2**31 - 1)  # by default a cell ends at 128 KiB, less than a long passage has


def read_delimited(file: IO[bytes], path: Path, delimiter: str | None = None) -> Iterator[Source]:
    """A row for each line below the header; cells that hold a list are read as one, anything else stays text.

    Args:
        file: UTF-8 text.
        path: for messages; a row stands at the line where it begins.
        delimiter: what separates columns; by default the one with which the header has most columns.

    Raises:
        DataError: a row has other columns than the header, or is no CSV.
    """
    text = decode(file.read(), str(path))
    likeliest = delimiter or max(DELIMITERS, key=lambda d: _width(text, d))
    note = "" if delimiter or likeliest == "," else f"columns read as separated by {DELIMITERS[likeliest]}"
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=likeliest)
    header: list[str] | None = None
    number = 1
    try:
        for cells in lines:
            where, number = f"{path}:{number}", lines.line_num + 1
            if header is None and cells:
                header = cells
                if duplicates := [name for name, count in Counter(header).items() if count > 1]:
                    raise DataError(f"{where}: two columns share a name, '{duplicates[0]}'; columns must differ")
            elif header and cells:
                if len(cells) != len(header):
                    raise DataError(f"{where}: expected {len(header)} columns as in the header, got {len(cells)}")
                yield Source({name: _cell(cell) for name, cell in zip(header, cells, strict=True)}, where, note=note)
    except csv.Error as error:
        raise DataError(f"{path}:{lines.line_num}: malformed CSV ({error})") from error


def _width(text: str, delimiter: str) -> int:
    """How many columns the header has if this separates them."""
    try:
        return len(next(csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter), []))
    except csv.Error:
        return 0


def _cell(cell: str) -> Any:
    """A cell that holds a list, in JSON or as Python or numpy prints lists of texts, is read as one."""
    if not (cell.lstrip().startswith("[") and cell.rstrip().endswith("]")):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    outline = LITERAL.sub("_", cell)
    listed = cell
    if NEIGHBOURS.search(outline):  # Python itself would join them to one text
        if outline.strip("[_] \r\n\t"):
            return cell
        listed = f"[{', '.join(LITERAL.findall(cell))}]"
    try:
        parsed = ast.literal_eval(listed.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return cell
    return parsed if isinstance(parsed, list) else cell
