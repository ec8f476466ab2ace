"""The records that finished commands leave in their run folders."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from tapioca.disk import write_text
from tapioca.errors import StoreError
from tapioca.records.results import Record, RunHeader
from tapioca.runs.folder import read_json

Info = TypeVar("Info", bound=Record)


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
