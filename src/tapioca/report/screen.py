"""One screen for a run, and the progress display while it is made."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tapioca.records.results import RunHeader
from tapioca.report import format as words
from tapioca.report.tables import print_line


class LiveScreen:
    """Shows what is going on, how far it is, how long it will take, and the best plan so far.

    Use it as a context manager around a recipe.
    """

    def __init__(self, console: Console):
        self.console = console
        self._best = ""
        self._task: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[best]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> LiveScreen:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def stage(self, what: str, total: int) -> None:
        """A new stage begins; the one before is taken off the screen."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total or None, best=self._best)

    def advance(self, steps: int) -> None:
        """Steps of the stage are done."""
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def best(self, text: str) -> None:
        """Keep the best result beside the bar."""
        self._best = f"best so far: {text}"

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        print_line(self.console, f"[dim]· {escape(text)}")


def show_data(info: RunHeader, console: Console) -> None:
    """Say which data are meant by OOD and by ID."""
    print_line(console, f"[dim]· {escape(words.data_names(info.task, info.reference))}")


def show_page(info: RunHeader, console: Console) -> None:
    """Say where the page of a run is."""
    print_line(console, f"report    {escape(str(info.folder / 'report.html'))}")
