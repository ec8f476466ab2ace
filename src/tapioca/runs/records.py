"""The records that finished commands leave in their run folders."""

import json
from pathlib import Path
from typing import Protocol, TypeVar

from tapioca.disk import write_text
from tapioca.errors import StoreError
from tapioca.reading import explain_damage
from tapioca.records.results import Record
from tapioca.runs.fingerprint import KEY, fingerprint
from tapioca.runs.folder import read_json

Info = TypeVar("Info", bound=Record)
END = "\n}"
"""Of an indented record."""


class FolderRecord(Protocol):
    """A record that knows its folder."""

    @property
    def folder(self) -> Path: ...

    def model_dump_json(self, *, indent: int) -> str: ...


def write_record(record: FolderRecord, name: str) -> None:
    """Write what a command found into its run folder."""
    text = record.model_dump_json(indent=2)
    write_text(record.folder / name, f'{text.removesuffix(END)},\n  "{KEY}": "{fingerprint(json.loads(text))}"{END}\n')


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
    content = read_json(folder, name)
    with explain_damage(folder / name, StoreError, f"perhaps it is of another version, run `tapioca {command}` again"):
        return kind(**{**content, "folder": folder})
