"""One process at a time works in a folder: who is refused, who takes over, and that of two who try one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapioca.disk import LOCK, list_contents
from tapioca.errors import StoreError
from tapioca.processes import ProcessName
from tapioca.runs.lock import FolderLock, Holder

HOLDER = """
import sys
from pathlib import Path
from tapioca.errors import StoreError
from tapioca.runs.lock import FolderLock
print("ready", flush=True)
for line in sys.stdin:
    try:
        match line.strip():
            case "acquire": lock = FolderLock(Path(sys.argv[1]), take_over=len(sys.argv) > 2)
            case "check": lock.check()
            case "release": lock.release()
        print("done", flush=True)
    except StoreError as error:
        print(error, flush=True)
"""


class Process(subprocess.Popen[str]):
    """A process of its own that acquires, checks and releases the lock of a folder."""

    def __init__(self, folder: Path, *options: str):
        command = [sys.executable, "-c", HOLDER, str(folder), *options]
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.hear() == "ready"

    def tell(self, word: str) -> None:
        assert self.stdin
        self.stdin.write(word + "\n")
        self.stdin.flush()

    def hear(self) -> str:
        assert self.stdout
        return self.stdout.readline().strip()

    def ask(self, word: str) -> str:
        self.tell(word)
        return self.hear()


@pytest.fixture
def begin() -> Iterator[Callable[..., Process]]:
    """Begins processes, and ends them."""
    processes: list[Process] = []

    def begin_one(folder: Path, *options: str) -> Process:
        processes.append(Process(folder, *options))
        return processes[-1]

    yield begin_one
    for process in processes:
        process.kill()
        process.communicate()


def write_lock(folder: Path, **changes: object) -> None:
    """A lock of a process like this one, but for some fields of its name."""
    process = ProcessName.of_this()._replace(**changes)  # type: ignore[arg-type]
    (folder / LOCK).write_bytes(Holder(process, "far-away", "2026-01-31T12:00:00+00:00").to_json())


def test_a_second_process_is_refused_until_the_first_is_done(tmp_path: Path, begin: Callable[..., Process]) -> None:
    folder = tmp_path / "run"
    first = begin(folder)
    assert first.ask("acquire") == "done"
    assert json.loads((folder / LOCK).read_text())["pid"] == first.pid
    assert list_contents(folder) == []
    with pytest.raises(
        StoreError,
        match=rf"run is in use by process {first.pid} on .+ since 2\S+ \(last sign of life 0:00:0\d ago\); wait for it, "
        r"choose another folder, or, if you know that it is gone, say --take-over$",
    ):
        FolderLock(folder)
    assert first.ask("check") == "done"
    assert first.ask("release") == "done"
    assert list(folder.iterdir()) == []
    with FolderLock(folder) as lock:
        lock.check()


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_killed_process_is_no_holder(is_reaped: bool, tmp_path: Path, begin: Callable[..., Process]) -> None:
    first = begin(tmp_path)
    first.ask("acquire")
    first.kill()
    if is_reaped:
        first.wait()
    else:
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    with FolderLock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_process_loses_nothing(tmp_path: Path, begin: Callable[..., Process]) -> None:
    first = begin(tmp_path)
    first.ask("acquire")
    first.send_signal(signal.SIGSTOP)
    os.utime(tmp_path / LOCK, (0, time.time() - 7200))  # two hours ago
    with pytest.raises(StoreError, match=r"last sign of life 2:00:0\d ago"):
        FolderLock(tmp_path)
    first.send_signal(signal.SIGCONT)
    assert first.ask("check") == "done"


def test_who_is_taken_over_notices_and_leaves_the_lock_alone(tmp_path: Path, begin: Callable[..., Process]) -> None:
    first = begin(tmp_path)
    first.ask("acquire")
    with FolderLock(tmp_path, take_over=True) as lock:
        said = first.ask("check")
        assert said.startswith(f"{tmp_path} was taken over by process {os.getpid()} on ")
        assert said.endswith("; this process ends, and that one goes on")
        assert first.ask("release") == "done"
        lock.check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("take over",)])
def test_of_several_that_take_over_at_once_one_does(
    options: tuple[str, ...], tmp_path: Path, begin: Callable[..., Process]
) -> None:
    processes = [begin(tmp_path, *options) for _ in range(4)]
    for _ in range(8):
        write_lock(tmp_path, pid=2**31 - 1)
        for process in processes:
            process.tell("acquire")
        said = [process.hear() for process in processes]
        winners = [process for process, words in zip(processes, said, strict=True) if words == "done"]
        assert [process.ask("check") for process in winners].count("done") == 1
        if not options:
            assert len(winners) == 1
            assert sum("is in use by process" in words for words in said) == 3
        for process in winners:
            process.ask("release")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "is_free"),
    [
        ({"host": "00000000"}, False),
        ({"host": "00000000", "pid": 2**31 - 1}, False),
        ({"pid": 1, "started": 0}, False),  # whose beginning nobody knew
        ({"boot": "00000000"}, True),
        ({"started": 1}, True),  # a number that was used again
        ({"pid": 2**31 - 1}, True),
    ],
)
def test_only_a_process_that_is_provably_dead_is_no_holder(
    changes: dict[str, object], is_free: bool, tmp_path: Path
) -> None:
    write_lock(tmp_path, **changes)
    if is_free:
        FolderLock(tmp_path).release()
    else:
        with pytest.raises(StoreError, match=r"in use by process \d+ on far-away since 2026-01-31T12:00:00\+00:00 "):
            FolderLock(tmp_path)
        FolderLock(tmp_path, take_over=True).release()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{}", b"[" * 9999, b"null", b'{"process": 7, "host": "", "since": ""}']
)
def test_a_lock_that_says_nothing_is_refused(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapioca.runs.lock.PAUSE_SECONDS", 0.001)
    (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(
        StoreError, match=r"may be in use: .*\.tapioca\.lock does not say by which process; .*--take-over"
    ):
        FolderLock(tmp_path)
    FolderLock(tmp_path, take_over=True).release()


def test_a_lock_that_cannot_be_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(StoreError, match=r"cannot write .*\.tapioca\.lock: .*; choose another"):
        FolderLock(tmp_path, take_over=True)
    monkeypatch.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"cannot write .*\.tapioca\.lock: No space left on device; free some space"):
        FolderLock(tmp_path / "full")
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"cannot write .*\.tapioca\.lock: Permission denied; make it writable"):
        FolderLock(tmp_path)


def test_one_process_does_not_work_twice_in_a_folder(tmp_path: Path) -> None:
    with (
        FolderLock(tmp_path) as lock,
        pytest.raises(StoreError, match=r"in use by this very process; let that end, or choose another folder"),
    ):
        FolderLock(tmp_path)
    assert not lock.path.exists()


def test_a_holder_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapioca.runs.lock.BEAT_SECONDS", 0.01)
    with FolderLock(tmp_path) as lock:
        os.utime(lock.path, (0, 0))
        deadline = time.monotonic() + 10
        while not (beat := lock.path.stat().st_mtime) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert abs(beat - time.time()) < 60


def test_a_folder_that_is_gone_or_another_is_noticed(tmp_path: Path) -> None:
    for make_anew in (False, True):
        lock = FolderLock(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")
        if make_anew:
            (tmp_path / "run").mkdir()
        with pytest.raises(
            StoreError, match=r"\.tapioca\.lock was deleted or replaced while this process worked there"
        ):
            lock.check()
        lock.release()


def test_a_file_system_without_locks_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(38, "Function not implemented")))
    write_lock(tmp_path, pid=2**31 - 1)
    with FolderLock(tmp_path), pytest.raises(StoreError, match="this very process"):
        FolderLock(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_beside_the_root() -> None:
    with pytest.raises(StoreError, match=r"^cannot write /: it is the root of all folders; choose another folder$"):
        FolderLock(Path("/"), is_beside=True)


def test_a_lock_beside_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "new" / "checkpoint", is_beside=True) as lock:
        assert lock.path == tmp_path / "new" / f".checkpoint{LOCK}"
        assert list_contents(tmp_path / "new") == []
        with pytest.raises(StoreError, match=r"new/checkpoint is in use by this very process"):
            FolderLock(tmp_path / "new" / "checkpoint", is_beside=True)
    assert list((tmp_path / "new").iterdir()) == []
