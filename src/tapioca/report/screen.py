"""What is shown while a run is made: a bar in a terminal, else lines; and what every screen says of a run."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar

from tapioca.progress import Progress
from tapioca.records.results import RunHeader
from tapioca.report import format as words
from tapioca.report.progress_lines import ProgressLines, open_log
from tapioca.report.tables import print_line

LINE_SECONDS, VERBOSE_SECONDS = 30.0, 5.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class ScreenOptions:
    """What is shown while a command works.

    Attributes:
        quiet: neither bar nor lines, only notes and the result.
        verbose: lines instead of a bar, more often, and one for each stage; and what Ray's workers print.
        log_file: where lines and notes are written to also, behind what is there.
    """

    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None


class LiveScreen:
    """Prints notes and, in a terminal or a notebook, a bar: what is going on, how far it is, how long it will take.

    Use it as a context manager around a recipe.
    """

    shows_logs = False

    def __init__(self, console: Console, has_bar: bool):
        self.console = console
        self._status = ""
        self._task: TaskID | None = None
        self._bar = ProgressBar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not has_bar,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def stage(self, what: str, total: int) -> None:
        """A new stage begins; the one before is taken off the screen."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total or None, status=self._status)

    def advance(self, steps: int) -> None:
        """Steps of the stage are done."""
        if self._task is not None:
            self._bar.advance(self._task, steps)

    def status(self, text: str) -> None:
        """Keep what is said of the run beside the bar."""
        self._status = text
        if self._task is not None:
            self._bar.update(self._task, status=self._status)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        print_line(self.console, f"· {text}", style="dim")


class Listeners:
    """Hands all that is told about progress on to several who listen."""

    def __init__(self, listeners: list[Progress], shows_logs: bool):
        self.listeners, self.shows_logs = listeners, shows_logs

    def stage(self, what: str, total: int) -> None:
        for listener in self.listeners:
            listener.stage(what, total)

    def advance(self, steps: int) -> None:
        for listener in self.listeners:
            listener.advance(steps)

    def status(self, text: str) -> None:
        for listener in self.listeners:
            listener.status(text)

    def note(self, text: str) -> None:
        for listener in self.listeners:
            listener.note(text)


@contextmanager
def open_screen(console: Console, options: ScreenOptions = ScreenOptions()) -> Iterator[Progress]:
    """What listens to a command: notes on the console, a bar or lines, and a log file where one is asked for.

    Lines go to standard error, so that standard output holds notes and the result alone.

    Raises:
        StoreError: the log file cannot be opened.
    """
    shows_bar = (console.is_terminal or console.is_jupyter) and not (options.quiet or options.verbose)
    interval = VERBOSE_SECONDS if options.verbose else LINE_SECONDS
    with ExitStack() as stack:
        listeners: list[Progress] = []
        if options.log_file:
            log = stack.enter_context(open_log(options.log_file))
            listeners.append(stack.enter_context(ProgressLines(log, interval, writes_all=True)))
        listeners.append(stack.enter_context(LiveScreen(console, shows_bar)))
        if not options.quiet and not shows_bar:
            listeners.append(stack.enter_context(ProgressLines(write_to_standard_error, interval, options.verbose)))
        yield Listeners(listeners, options.verbose)


def follow_training(screen: Progress, steps: int) -> Callable[[int, float], None]:
    """What a training tells its progress, the steps done and the loss; the screen shows both."""
    n_done = 0
    screen.stage("training", steps)

    def on_step(n_steps: int, loss: float) -> None:
        nonlocal n_done
        screen.status(f"loss {loss:.4f}")
        screen.advance(n_steps - n_done)
        n_done = n_steps

    return on_step


def show_data(info: RunHeader, console: Console) -> None:
    """Say which data are meant by OOD and by ID."""
    print_line(console, f"· {words.data_names(info.task, info.reference)}", style="dim")


def show_page(info: RunHeader, console: Console) -> None:
    """Say where the page of a run is."""
    print_line(console, f"report    {info.folder / 'report.html'}")


def write_to_standard_error(line: str) -> None:
    """Write a line with its time, as long as somebody reads."""
    with suppress(OSError, ValueError):
        print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)
