"""Files that are either whole or not there: written beside their place, then renamed into it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapioca.errors import StoreError


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the place of `path`.

    Raises:
        StoreError: the folder is read-only, the disk is full, or the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        StoreError: something else has its name, or the place is read-only or full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot use {path} as a folder: {error.strerror or error}; choose another") from error


def list_contents(path: Path) -> list[str]:
    """What lies in a folder, but for temporary files that a killed process may have left; nothing where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        names = [file.name for file in path.iterdir()] if path.exists() else []
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}; choose another folder") from error
    return [name for name in names if not (name.startswith(".") and name.endswith(".tmp"))]


def make_marked_folder(path: Path, mark: str, what: str) -> bool:
    """Make a folder for something that one file marks, and say whether it is there already.

    Args:
        path: the folder.
        mark: the file without which anything else in it is foreign.
        what: the thing, for instance "a run".

    Raises:
        StoreError: it holds something else, or cannot be used.
    """
    make_folder(path)
    is_marked = (path / mark).is_file()
    if not is_marked and list_contents(path):
        raise StoreError(f"{path} holds something else than {what}; choose another folder with --out")
    return is_marked


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
