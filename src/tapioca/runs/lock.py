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

from tapioca.disk import LOCK, explain_failure, make_folder, replace_atomically
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
        return f"process {self.process.pid} on {self.host}"


class FolderLock:
    """Holds a folder until it is released. Use it as a context manager.

    Args:
        folder: made if it is not there.
        take_over: take it from whoever holds it.
        is_beside: the lock file stands beside the folder, which is not made.

    Raises:
        StoreError: a process that is not provably dead works in the folder, the lock file cannot be written, or nothing is
            beside the folder.
    """

    def __init__(self, folder: Path, take_over: bool = False, is_beside: bool = False):
        place = folder.resolve()
        if is_beside and not place.name:
            raise StoreError(f"cannot write {folder}: it is the root of all folders; choose another folder")
        self.folder = folder
        self.path = place.with_name(f".{place.name}{LOCK}") if is_beside else folder / LOCK
        make_folder(self.path.parent)
        self._is_released = Event()
        self._heart = Thread(target=self._beat, daemon=True, name=f"heartbeat in {folder}")
        with explain_failure(self.path):
            self._file = self._acquire(take_over)
        self._made = os.fstat(self._file)
        try:
            self._heart.start()
        except BaseException:  # Ctrl-C
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def check(self) -> None:
        """Notice that the folder is not this process's any more.

        Raises:
            StoreError: it was deleted, replaced or taken over.
        """
        if is_same_file(self.path, self._made):
            return
        with suppress(OSError):
            if holder := Holder.parse(self.path.read_bytes()):
                raise StoreError(
                    f"{self.folder} was taken over by {holder} at {holder.since}; this process ends, and that one goes on"
                )
        raise StoreError(describe_replaced(self.path))

    def release(self) -> None:
        """Give the folder back; what another process has taken over stays that one's."""
        self._is_released.set()
        if self._heart.ident:
            self._heart.join()
        for _ in range(TRIES):
            if _freeze(self._file):
                break
            time.sleep(PAUSE_SECONDS)
        if is_same_file(self.path, self._made):
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _beat(self) -> None:
        while not self._is_released.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(self._file)

    def _acquire(self, take_over: bool) -> int:
        """Make the lock file, or replace that of a dead process; returns it open."""
        for _ in range(TRIES):
            with suppress(FileExistsError):
                return _create(self.path)
            with suppress(FileNotFoundError):  # given back just now
                if (file := self._replace(take_over)) is not None:
                    return file
            time.sleep(PAUSE_SECONDS)
        raise StoreError(self._describe_unknown())

    def _replace(self, take_over: bool) -> int | None:
        """Replace the lock file of a dead process, or any; None where another process writes it at this moment.

        Raises:
            StoreError: who holds it is not provably dead.
        """
        existing = os.open(self.path, os.O_RDONLY)
        try:
            if not _freeze(existing) or not is_same_file(self.path, os.fstat(existing)):
                return None
            if not take_over:
                text = os.read(existing, 4096)
                if not text:  # just made
                    return None
                self._refuse_living(Holder.parse(text), os.fstat(existing).st_mtime)
            with replace_atomically(self.path) as temporary:
                return _create(temporary)
        finally:
            os.close(existing)

    def _refuse_living(self, holder: Holder | None, last_beat: float) -> None:
        """Refuse a folder whose holder is not provably dead."""
        if holder is None:
            raise StoreError(self._describe_unknown())
        if holder.process == ProcessName.of_this():
            raise StoreError(f"{self.folder} is in use by this very process; let that end, or choose another folder")
        if not holder.process.is_dead:
            ago = timedelta(seconds=max(0, round(time.time() - last_beat)))
            raise StoreError(
                f"{self.folder} is in use by {holder} since {holder.since} (last sign of life {ago} ago); wait for it, "
                "choose another folder, or, if you know that it is gone, say --take-over"
            )

    def _describe_unknown(self) -> str:
        return (
            f"{self.folder} may be in use: {self.path} does not say by which process; choose another folder, or, if you "
            "know that there is none, say --take-over"
        )


def is_same_file(path: Path, made: os.stat_result) -> bool:
    """Whether a file that a process holds open is still the one at its path."""
    try:
        return os.path.samestat(os.stat(path), made)
    except OSError:
        return False


def describe_replaced(path: Path) -> str:
    """What is said of a file that is not."""
    return f"{path} was deleted or replaced while this process worked there; nothing more is kept, so run the same command again"


def _create(path: Path) -> int:
    """Make a file that was not there and says that this process holds it."""
    text = Holder.this().to_json()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(file, text)
    except BaseException:
        os.close(file)
        path.unlink()
        raise
    return file


def _freeze(file: int) -> bool:
    """Keep a lock file as it is until it is closed; False where another process does.

    Where the file system cannot do that, of two processes that take over at once the first ends at its next batch.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True
