"""Progress as lines of text with the time: for log files, and where there is no terminal for a bar."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Self

from tapioca.errors import StoreError, describe_error
from tapioca.report.format import format_duration
from tapioca.version import __version__

WriteLine = Callable[[str], None]


class ProgressLines:
    """Writes a line every so many seconds: what is going on, how far it is, how long left, and what the run says of
    itself. A thread does, so that a stage that takes long for its first step is told of as well.

    Use it as a context manager around a recipe.

    Args:
        write: takes a line without its end; called by the thread, and raises nothing.
        interval: seconds.
        writes_all: whether each new stage and each note is a line too.
    """

    shows_logs = False

    def __init__(self, write: WriteLine, interval: float, writes_all: bool):
        self.write, self.interval, self.writes_all = write, interval, writes_all
        self._stage, self._total, self._done, self._status = "", 0, 0, ""
        self._begun = time.monotonic()
        self._ended = Event()
        self._thread = Thread(target=self._write_at_intervals, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def stage(self, what: str, total: int) -> None:
        """A new stage begins."""
        self._stage, self._total, self._done, self._begun = what, total, 0, time.monotonic()
        if self.writes_all:
            self.write(f"{what}, 0 of {total:,}" if total else what)

    def advance(self, steps: int) -> None:
        """Steps of the stage are done."""
        self._done += steps

    def status(self, text: str) -> None:
        """Keep what is said of the run for the next line."""
        self._status = text

    def note(self, text: str) -> None:
        """Something the user should know."""
        if self.writes_all:
            self.write(text)

    def describe(self) -> str:
        """What is going on, in a line."""
        parts = [self._stage]
        if self._total:
            parts.append(f"{self._done:,} of {self._total:,}")
        if 0 < self._done < self._total:
            left = (time.monotonic() - self._begun) / self._done * (self._total - self._done)
            parts.append(f"about {format_duration(left)} left")
        return ", ".join(filter(None, [*parts, self._status]))

    def _write_at_intervals(self) -> None:
        while not self._ended.wait(self.interval):
            if self._stage:
                self.write(self.describe())


@contextmanager
def open_log(path: Path) -> Iterator[WriteLine]:
    """A function that writes a line with its time behind what a file holds; how the run ends is its last line.

    Where a line cannot be written later on, standard error says so once, and the run goes on.

    Raises:
        StoreError: the file cannot be opened, or not even its first line be written.
    """
    with _refuse(path):
        stream = path.open("ab", buffering=0)  # so that a line is there as soon as it is written
    failed = Event()

    def write(line: str) -> None:
        try:
            stream.write(_add_date(line))
        except OSError as error:
            if not failed.is_set():
                failed.set()
                print(f"cannot write {path}: {error.strerror or error}; going on", file=sys.stderr, flush=True)

    with closing(stream):
        with _refuse(path):
            stream.write(_add_date(f"tapioca {__version__}"))
        try:
            yield write
        except BaseException as error:
            write(f"stopped: {describe_error(error)}")
            raise
        write("done")


@contextmanager
def _refuse(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; name another file with --log-file"
        ) from error


def _add_date(line: str) -> bytes:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n".encode(errors="replace")
