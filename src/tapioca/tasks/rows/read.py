"""A file, a pattern, a folder or a hub data set by its name, read into rows."""

import bz2
import glob
import gzip
import lzma
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from tapioca.errors import DataError
from tapioca.reading import explain_damage, refuse_no_file
from tapioca.tasks.rows.delimited import read_delimited
from tapioca.tasks.rows.hub import read_hub
from tapioca.tasks.rows.source import Source
from tapioca.tasks.rows.tables import is_saved, read_parquet, read_saved
from tapioca.tasks.rows.text import read_json, read_json_lines
from tapioca.tasks.spec import COMPRESSED, HUB

READERS: dict[str, Callable[[IO[bytes], Path], Iterator[Source]]] = {
    ".jsonl": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": partial(read_delimited, delimiter="\t"),
    ".parquet": read_parquet,
}
"""How files are read, by the end of their name."""

OPENERS: dict[str, Callable[..., Any]] = dict(zip(COMPRESSED, (gzip.open, bz2.open, lzma.open), strict=True))
"""How compressed files are opened, by what follows that end."""

TABLES = (".csv", ".tsv", ".parquet")
"""Files all of whose rows have the same columns."""

SPLIT = re.compile(r"(?:^|[-_.])(train|validation|valid|val|dev|test)(?=[-_.\d]|$)")
"""A split in the name of a file."""


FORMATS = f"{', '.join(READERS)} (also with {', '.join(COMPRESSED)} behind)"


def read_rows(path: Path) -> list[Source]:
    """All rows of a data file, of the files of a folder or a pattern, or of a hub data set.

    Args:
        path: a file; a pattern such as data/*.jsonl, or a folder, whose files are read in the order of their names; a
            folder of `save_to_disk`; or "hub:ID", with `name` (the configuration), `split` and `revision` behind
            commas, where ID may also be a local folder the datasets library can load.

    Raises:
        DataError: there is no such file, it is empty, of another type, cut off or malformed; or the hub has no such
            data set, configuration, split or revision, or does not give it out.
    """
    if str(path).startswith(HUB):
        return read_hub(str(path))
    if is_saved(path):
        return read_saved(path)
    files = data_files(path)
    shards = [_read_file(file) for file in files]
    _check_columns(files, shards)
    rows = [row for shard in shards for row in shard]
    if not rows:
        raise DataError(f"{path} has no rows; expected at least one")
    return rows


def data_files(path: Path) -> list[Path]:
    """The file itself; or the data files in a folder, or that match a pattern, in the order of their names.

    Raises:
        DataError: there are none, or not all belong together.
    """
    if os.path.isdir(path):
        files = sorted(file for file in path.iterdir() if file.is_file() and _is_data(file))
    elif glob.has_magic(str(path)) and not os.path.lexists(path):
        files = sorted(file for name in glob.glob(str(path), recursive=True) if (file := Path(name)).is_file())
    else:
        return [path]
    if not files:
        raise DataError(f"no data files in {path}; expected {FORMATS}")
    kinds = {_ending(file) for file in files}
    if len(kinds) > 1:
        raise DataError(
            f"{path} has files of several kinds ({', '.join(sorted(kinds))}); name one kind, as in '*.jsonl'"
        )
    splits = {match[1] for file in files if (match := SPLIT.search(file.name.lower()))}
    if len(splits) > 1:
        raise DataError(f"{path} has files of several splits ({', '.join(sorted(splits))}); name one, as in '*train*'")
    return files


def _ending(path: Path) -> str:
    """What says how a file is read: the end of its name, without that of a compression."""
    compressed = path.suffix.lower() in OPENERS
    return (path.with_suffix("") if compressed else path).suffix.lower()


def _is_data(path: Path) -> bool:
    """Whether a file of a folder can be read; hidden files, and those that programs begin with _, are none."""
    return _ending(path) in READERS and not path.name.startswith((".", "_"))


def _read_file(path: Path) -> list[Source]:
    """The rows of one file; refused where it cannot be read."""
    reader = READERS.get(_ending(path))
    if reader is None:
        raise DataError(
            f"{path}: cannot read '{_ending(path) or path.suffix}' files; expected {FORMATS}, or a task .yaml"
        )
    with explain_damage(path, DataError):
        refuse_no_file(path)
        with OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            return list(reader(file, path))


def _check_columns(files: list[Path], shards: list[list[Source]]) -> None:
    """Refuse tables that are no parts of one, since their columns differ."""
    parts = zip(files, shards, strict=True)
    tables = [(file, shard[0].fields.keys()) for file, shard in parts if shard and _ending(file) in TABLES]
    for file, columns in tables[1:]:
        first, expected = tables[0]
        if columns != expected:
            odd = ", ".join(sorted(map(str, columns ^ expected)))
            raise DataError(f"{file} has other columns than {first} ({odd}); parts of one data set must have the same")
