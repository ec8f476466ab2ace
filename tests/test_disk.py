"""Files that are whole or not there, what a foreign file is, and one line for whatever keeps them from being written."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tapioca
from tapioca.disk import (
    copy_file,
    list_contents,
    make_folder,
    make_folder_atomically,
    make_marked_folder,
    replace_atomically,
    replace_files,
    scratch_folder,
    write_json,
    write_text,
)
from tapioca.errors import ExportError, StoreError
from tapioca.lab.config import TrainConfig
from tapioca.lab.trainer import hold_training_folder
from tapioca.processes import ProcessName
from tapioca.runs.folder import open_manifest


def claim_training_folder(folder: Path) -> None:
    with hold_training_folder(TrainConfig(out=folder)):
        pass


@pytest.mark.parametrize("claim", [claim_training_folder, open_manifest])
def test_what_a_killed_process_left_is_nobodys_and_anything_else_is_foreign(claim: object, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in (".training.pt.1.tmp", ".manifest.json.77.tmp"):
        (folder / name).touch()
    leave_behind(folder)
    claim(folder)  # type: ignore[operator]
    assert list_contents(folder) == []
    (folder / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"out holds something else than a (run|training); choose another folder"):
        claim(folder)  # type: ignore[operator]


def test_a_marked_folder_may_hold_anything_beside(tmp_path: Path) -> None:
    assert not make_marked_folder(tmp_path / "new", "mark", "a thing")
    for name in ("mark", "other"):
        (tmp_path / "new" / name).touch()
    assert make_marked_folder(tmp_path / "new", "mark", "a thing")
    assert list_contents(tmp_path / "missing") == []


def leave_behind(folder: Path, **changes: object) -> Path:
    """What a process leaves that was killed while it wrote; by default one that is dead."""
    process = ProcessName.of_this()._replace(**{"pid": 2**31 - 1, **changes})  # type: ignore[arg-type]
    scratch = folder / f".tapioca-{process}-999999.tmp"
    scratch.mkdir(parents=True)
    (scratch / "weights").write_bytes(b"half")
    return scratch


@contextmanager
def write_new_folder(folder: Path) -> Iterator[None]:
    with make_folder_atomically(folder / "new") as temporary:
        (temporary / "file").touch()
        yield


DOORS: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: write_text(folder / "file", "text"),
    "several files": lambda folder: replace_files(folder).__enter__(),
    "a folder": lambda folder: write_new_folder(folder).__enter__(),
    "a copy": lambda folder: copy_file(Path(__file__), folder / "copy"),
}


@pytest.mark.parametrize("door", DOORS)
def test_whoever_writes_removes_what_dead_processes_left_and_nothing_else(door: str, tmp_path: Path) -> None:
    dead = leave_behind(tmp_path), leave_behind(tmp_path, boot="00000000"), leave_behind(tmp_path, started=1, pid=1)
    living = leave_behind(tmp_path, pid=os.getpid())
    elsewhere = leave_behind(tmp_path, host="00000000")
    other = tmp_path / ".tapioca-notes.tmp"
    other.mkdir()
    DOORS[door](tmp_path)
    assert not any(scratch.exists() for scratch in dead)
    assert all(path.exists() for path in (living / "weights", elsewhere / "weights", other))


def test_temporary_files_of_the_system_are_removed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    leave_behind(tmp_path)
    with scratch_folder() as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
        assert scratch.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


@contextmanager
def small_files(size: int = 1000) -> Iterator[None]:
    """No file may grow beyond so many bytes, which every library meets as it meets a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save_torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"weight": torch.zeros(9000)}, file)


WRITERS: dict[str, Callable[[Path], object]] = {
    "torch": save_torch,
    "safetensors": lambda path: save_file({"weight": torch.zeros(9000)}, path),
    "numpy archive": lambda path: np.savez(path, zeros=np.zeros(9000)),
    "text": lambda path: path.write_text("x" * 9000),
    "bytes": lambda path: path.write_bytes(b"x" * 9000),
    "errno alone": lambda path: (_ for _ in ()).throw(OSError(errno.EFBIG, "")),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_be_written_is_one_line_whoever_writes_it(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.write_text("before")
    expected = rf"^cannot write {path}: File too large; raise the limit on the size of files \(ulimit -f\) or choose another folder$"
    with pytest.raises(StoreError, match=expected), small_files(), replace_atomically(path) as temporary:
        WRITERS[writer](temporary)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


FAILURES = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; free some space or choose another"),
    (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "Disk quota exceeded; free some space or choose another"),
    (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system; choose another folder"),
    (OSError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied; make it writable or choose another folder"),
    (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error; choose another folder"),
    (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), "No such file or directory; make its folder or choose another"),
    (
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        r"Too many open files; raise the limit on open files (ulimit -n)",
    ),
    (RuntimeError("Error: I/O error: whatever (os error 28)"), "No space left on device; free some space"),
    (RuntimeError("unexpected pos 576 vs 534\nat frame 1"), "unexpected pos 576 vs 534; choose another folder"),
    (MemoryError(), "out of memory; free some and run the same command again"),
    (OSError("nobody knows"), "nobody knows; choose another folder"),
]


def fail_to_write(path: Path, failure: Exception, cause: Exception | None = None) -> None:
    with replace_atomically(path):
        try:
            if cause:
                raise cause
        finally:
            raise failure


@pytest.mark.parametrize(("failure", "words"), FAILURES)
def test_space_is_asked_for_only_where_it_lacks(failure: Exception, words: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"^cannot write .*file: {re.escape(words)}") as caught:
        fail_to_write(tmp_path / "file", failure)
    assert "\n" not in str(caught.value)
    assert ("free some space" in str(caught.value)) == ("space" in words)


def test_a_hidden_cause_is_found(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        fail_to_write(tmp_path / "x", RuntimeError("unexpected pos 704 vs 598"), full)  # as torch does


def test_places_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: make_folder(tmp_path / "file"), "cannot use .*file as a folder: File exists; choose another$"),
        (lambda: make_folder(tmp_path / "file" / "x"), "Not a directory; a part of this path is a file; choose"),
        (lambda: make_folder(tmp_path / ("x" * 300)), "File name too long; choose a shorter name"),
        (lambda: list_contents(tmp_path / ("x" * 300)), "File name too long; choose a shorter name"),
        (lambda: list_contents(tmp_path / "file"), "Not a directory; a part of this path is a file; choose"),
        (lambda: write_text(tmp_path / "folder", ""), "folder: a folder or device has this name; choose another$"),
        (lambda: write_text(Path("/dev/null"), ""), "/dev/null: a folder or device has this name; choose another"),
        (
            lambda: write_text(tmp_path / "no" / "x", ""),
            "cannot write .*no/x: No such file or directory; make its fold",
        ),
        (
            lambda: write_new_folder(tmp_path / "file" / "x").__enter__(),
            "cannot use .*file/x as a folder: Not a directory",
        ),
        (lambda: copy_file(tmp_path / "no", tmp_path / "x"), "cannot read .*no: No such file or directory; make it"),
        (lambda: make_folder_atomically(Path("/")).__enter__(), "cannot write /: a disk is mounted there; choose a"),
    ]
    for write, words in cases:
        with pytest.raises(StoreError, match=words):
            write()
    assert Path("/dev/null").is_char_device()


def write_refused(target: Path) -> None:
    with make_folder_atomically(target) as folder:
        write_text(folder / "weights", "half")
        raise ExportError(f"{folder / 'weights'} differ")


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with pytest.raises(ExportError, match=rf"^{target}/weights differ$"):
        write_refused(target)
    assert list(target.parent.iterdir()) == []
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    with make_folder_atomically(link) as folder:  # of an empty folder nobody minds
        write_text(folder / "weights", "whole")
        assert list_contents(target) == []
    assert (target / "weights").read_text() == "whole"
    with (
        pytest.raises(StoreError, match=r"target: Directory not empty; choose another folder$"),
        make_folder_atomically(target),
    ):
        pass
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def write_two(folder: Path, weights: str) -> None:
    with replace_files(folder) as scratch:
        (scratch / "config.json").write_text("new")
        (scratch / "weights").write_text(weights)


def test_several_files_take_their_places_together(tmp_path: Path) -> None:
    write_text(tmp_path / "config.json", "old")
    with pytest.raises(StoreError, match="File too large"), small_files():
        write_two(tmp_path, "new" * 999)
    assert (tmp_path / "config.json").read_text() == "old"
    write_two(tmp_path, "new")
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["new", "new"]


def test_names_as_long_as_the_system_takes_and_half_characters_are_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_json(path, {"name": "\ud800"})
    write_text(path, "text \ud800")
    assert path.read_text() == "text \\ud800"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))


def test_nobody_writes_past_the_door() -> None:
    """Temporary names, which the door gave, are the only ones that others write to."""
    past_it = re.compile(
        r"(?<!temporary)\.(write_text|write_bytes|mkdir|touch)\(|(?<!temporary)\.open\(\"[wax]|tempfile\.|TemporaryDirectory"
        r"|shutil\.(copy|copy2|copyfile|copytree|move|rmtree)\("
    )
    allowed = {
        "disk.py",
        "report/progress_lines.py",  # a log, whose every line is there as soon as it is written
    }
    source = Path(tapioca.__file__).parent
    lines = [
        f"{path.relative_to(source)}: {line.strip()}"
        for path in source.rglob("*.py")
        if str(path.relative_to(source)) not in allowed
        for line in path.read_text().splitlines()
        if past_it.search(line)
    ]
    assert lines == []
