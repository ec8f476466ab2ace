"""Files and folders that are either whole or not there, and one line for whatever keeps them from being written.

All is written into a hidden folder beside its place, which is named after the process, and renamed from there. So what a
killed process leaves is known as such: it counts as nothing, and the next that writes to the same place removes it.
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tapioca.errors import StoreError, TapiocaError, first_line
from tapioca.processes import ProcessName

LOCK = ".tapioca.lock"
"""How a file is called that says which process works in a folder (runs/lock.py); it counts as nothing there."""
ELSEWHERE = "choose another folder"
ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "make it writable or choose another folder",
    errno.EPERM: "make it writable or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of this path is a file; choose another folder",
    errno.EEXIST: "choose another",
    errno.ENOENT: "make its folder or choose another",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) or choose another folder",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
"""What to do about a failure to write, by its number; about any other, choose another folder."""

_numbers = count()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for temporary files, in the system's place for them; it is gone afterwards.

    Raises:
        StoreError: it cannot be made.
    """
    with ExitStack() as stack:
        with explain_failure("temporary files (TMPDIR names their folder)"):
            scratch = stack.enter_context(_hidden_folder(Path(tempfile.gettempdir())))
        try:
            yield scratch
        except StoreError as error:
            if str(scratch) in str(error):
                error.args = (f"{error} for temporary files, with TMPDIR",)
            raise


@contextmanager
def _hidden_folder(place: Path) -> Iterator[Path]:
    """Give a hidden folder of this process in a place, gone afterwards; those of dead processes go first."""
    _remove_left_behind(place)
    folder = place / f".tapioca-{ProcessName.of_this()}-{next(_numbers)}.tmp"
    folder.mkdir(0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(place: Path) -> None:
    """Remove the scratch folders of processes that are provably dead."""
    for scratch in place.glob(".tapioca-*.tmp"):
        process = ProcessName.parse(scratch.name.removeprefix(".tapioca-").rpartition("-")[0])
        if process and process.is_dead:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, of the same name; on success it takes the place of `path`.

    The body should do nothing but write, since whatever it raises counts as a failure to write.

    Raises:
        StoreError: the folder is read-only, the disk is full, or the like.
    """
    with explain_failure(path):
        if path.exists() and not path.is_file():
            raise FileExistsError(errno.EEXIST, "a folder or device has this name")
        with _hidden_folder(path.parent) as scratch:
            yield scratch / path.name
            _sync(scratch / path.name)
            (scratch / path.name).replace(path)


@contextmanager
def replace_files(folder: Path) -> Iterator[Path]:
    """The same for several files of a folder at once, for libraries that choose the names themselves."""
    with explain_failure(folder), _hidden_folder(folder) as scratch:
        yield scratch
        for path in sorted(scratch.iterdir()):
            _sync(path)
            path.replace(folder / path.name)


@contextmanager
def make_folder_atomically(path: Path) -> Iterator[Path]:
    """Give a new folder to fill; on success it becomes `path`, which is not there before or is empty.

    An error of the body is raised as it is, about `path` where it was about the temporary folder.

    Raises:
        StoreError: the place is read-only or full, or has something in it by now.
    """
    make_folder(path.parent)
    place = path.resolve()
    if place.is_mount():
        raise StoreError(f"cannot write {path}: a disk is mounted there; choose a folder in it")
    with ExitStack() as stack:
        with explain_failure(path):
            folder = stack.enter_context(_hidden_folder(place.parent)) / "new"
            folder.mkdir()
        try:
            yield folder
        except TapiocaError as error:
            error.args = (str(error).replace(str(folder), str(path)),)
            raise
        with explain_failure(path):
            folder.rename(place)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk: after a power failure a name would else stand for nothing."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def explain_failure(path: Path | str, doing: str = "cannot write {}") -> Iterator[None]:
    """Turn whatever a body that only writes raises into one line.

    Raises:
        StoreError: it failed; the line names the path, the reason and what to do.
    """
    try:
        yield
    except TapiocaError:
        raise
    except Exception as error:  # torch, safetensors, numpy and zipfile have their own classes for a full disk
        reason, advice = _find_reason(error)
        raise StoreError(f"{doing.format(path)}: {reason}; {advice}") from error


def _find_reason(error: BaseException) -> tuple[str, str]:
    """Why writing failed, and what to do."""
    if isinstance(error, MemoryError):
        return "out of memory", "free some and run the same command again"
    number = _find_number(error)
    if number is None:
        return first_line(error), ELSEWHERE
    own_words = getattr(error, "strerror", None) if getattr(error, "errno", None) == number else None
    return own_words or os.strerror(number), ADVICE.get(number, ELSEWHERE)


def _find_number(error: BaseException | None) -> int | None:
    """The system's number of an error, which libraries hide in their own errors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if number := re.search(r"os error (\d+)", str(error)):  # Rust's, in safetensors
            return int(number[1])
        error = error.__cause__ or error.__context__
    return None


def make_folder(path: Path) -> None:
    """Make a folder and its parents.

    Raises:
        StoreError: something else has its name, or the place is read-only or full.
    """
    with explain_failure(path, "cannot use {} as a folder"):
        path.mkdir(parents=True, exist_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, as far as that can be done; nothing where it is not there."""
    shutil.rmtree(path, ignore_errors=True)


def list_contents(path: Path) -> list[str]:
    """What lies in a folder, but for what a killed process may have left; nothing where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    with explain_failure(path, "cannot use {} as a folder"):
        names = [file.name for file in path.iterdir()] if path.exists() else []
    return [name for name in names if not name.endswith(LOCK) and not (name.startswith(".") and name.endswith(".tmp"))]


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


def copy_file(source: Path, target: Path) -> None:
    """Copy what a file holds to where its folder may not be there yet.

    Raises:
        StoreError: it cannot be read or written.
    """
    try:
        read_file = source.open("rb")
    except OSError as error:
        raise StoreError(f"cannot read {source}: {error.strerror}; make it readable") from error
    make_folder(target.parent)
    with read_file, replace_atomically(target) as temporary, temporary.open("wb") as written_file:
        shutil.copyfileobj(read_file, written_file)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; halves of characters, which UTF-8 has not, stand in it by number."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
