"""A folder is worked in by one process at a time: a lock file in it says which, since when, and shows that it lives.

The file is made exclusively. It is replaced where its process is provably dead, or where the user says so; of those
that would replace it at once one does, since whoever does holds the old file meanwhile by a lock of the system.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

from tapioca.disk import LOCK, explain_failure, replace_atomically
from tapioca.errors import StoreError
from tapioca.processes import ProcessName

BEAT_SECONDS = 15.0
"""How often a process shows that it lives, by the time stamp of its lock file."""
TRIES, PAUSE_SECONDS = 20, 0.05
"""How often a lock file is tried that is being made, replaced or taken away at this moment."""


class Holder(NamedTuple):
    """Who holds a folder, as a lock file says.

    Attributes:
        process: its name.
        host: of the machine, as people call it.
        since: when it began.
    """

    process: ProcessName
    host: str
    since: str

    @classmethod
    def this(cls) -> Holder:
        """This process, now."""
        return cls(ProcessName.of_this(), platform.node(), datetime.now().astimezone().isoformat(timespec="seconds"))

    @classmethod
    def parse(cls, text: bytes) -> Holder | None:
        """What `to_json` wrote; None where the text is something else."""
        try:
            content = json.loads(text)
            process = ProcessName.parse(content["process"])
            return cls(process, str(content["host"])[:80], str(content["since"])[:40]) if process else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def to_json(self) -> bytes:
        return (json.dumps({**self._asdict(), "process": str(self.process), "pid": self.process.pid}) + "\n").encode()

    def __str__(self) -> str:
        if self.process == ProcessName.of_this():
            return "this very process"
        return f"process {self.process.pid} on {self.host}"


class FolderLock:
    """Holds a folder until it is released. Use it as a context manager.

    Args:
        folder: where it stands; must be there.
        take_over: take it from whoever holds it.

    Raises:
        StoreError: another process works in the folder and is not provably dead, or the lock cannot be written.
    """

    def __init__(self, folder: Path, take_over: bool = False):
        self.folder, self.path = folder, folder / LOCK
        with explain_failure(self.path):
            self._file = _acquire(self.path, take_over)
        self._made, self._is_released = os.fstat(self._file), Event()
        self._heart = Thread(target=self._beat, daemon=True, name=f"heartbeat of {folder}")
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def check(self) -> None:
        """Notice that the folder is not this process's any more.

        Raises:
            StoreError: it was deleted, replaced or taken over.
        """
        refuse_replaced(self.path, self._made)

    def release(self) -> None:
        """Give the folder back; what another process has taken stays that one's."""
        self._is_released.set()
        self._heart.join()
        for _ in range(TRIES):
            if _freeze(self._file):
                break
            time.sleep(PAUSE_SECONDS)
        with suppress(OSError):  # the folder is gone
            if os.path.samestat(self.path.stat(), self._made):
                self.path.unlink()
        os.close(self._file)

    def _beat(self) -> None:
        while not self._is_released.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self._file)


def refuse_replaced(path: Path, made: os.stat_result) -> None:
    """Notice that a file which a process holds open is not the one at its path any more.

    Raises:
        StoreError: it was deleted or replaced, alone or with its folder.
    """
    try:
        if os.path.samestat(os.stat(path), made):
            return
        holder = Holder.parse(path.read_bytes()) if path.name == LOCK else None
    except OSError:
        holder = None
    if holder:
        raise StoreError(f"{path.parent} was taken over by {holder}, since {holder.since}; this process ends")
    raise StoreError(
        f"{path} was deleted or replaced while this process worked there, and nothing more can be kept; run the same command again"
    )


def _acquire(path: Path, take_over: bool) -> int:
    """Make the lock file, or replace that of a dead process; returns it open."""
    for _ in range(TRIES):
        with suppress(FileExistsError):
            return _create(path)
        with suppress(FileNotFoundError):  # given back just now
            if (file := _replace(path, take_over)) is not None:
                return file
        time.sleep(PAUSE_SECONDS)
    raise StoreError(_describe_unknown(path))


def _create(path: Path) -> int:
    """Make a file that is not there and says that this process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(file, Holder.this().to_json())
    except BaseException:
        os.close(file)
        path.unlink()
        raise
    return file


def _replace(path: Path, take_over: bool) -> int | None:
    """Take the lock file of a process that is dead, or of any; None where another process changes it at this moment.

    Raises:
        StoreError: whoever holds it is not provably dead.
    """
    existing = os.open(path, os.O_RDONLY)
    try:
        if not _freeze(existing) or not os.path.samestat(os.fstat(existing), path.stat()):
            return None
        if not take_over:
            text = os.read(existing, 4096)
            if not text:  # just made
                return None
            _refuse_living(path, Holder.parse(text), os.fstat(existing).st_mtime)
        with replace_atomically(path) as temporary:
            file = _create(temporary)
        return file
    finally:
        os.close(existing)


def _freeze(file: int) -> bool:
    """Keep a lock file as it is until it is closed; False where another process does.

    Where the system cannot, of two that replace it at once the first one notices at its next batch.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True


def _refuse_living(path: Path, holder: Holder | None, last_beat: float) -> None:
    """Refuse a folder whose holder is not provably dead."""
    if holder is None:
        raise StoreError(_describe_unknown(path))
    if not holder.process.is_dead:
        ago = timedelta(seconds=max(0, round(time.time() - last_beat)))
        raise StoreError(
            f"{path.parent} is in use by {holder} since {holder.since}, which last showed life {ago} ago; wait for it, "
            "choose another folder, or, if you know that it runs no more, take this one with --take-over"
        )


def _describe_unknown(path: Path) -> str:
    return (
        f"{path} does not say which process works in {path.parent}; if none does, take the folder with --take-over, "
        "or choose another"
    )
