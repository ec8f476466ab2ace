"""What a recipe tells about its progress; a screen listens."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Told what is going on.

    Attributes:
        shows_logs: whether what other processes print on the way is to be seen too.
    """

    shows_logs: bool

    def stage(self, what: str, total: int) -> None:
        """A new stage of `total` steps (plan times example) begins."""

    def advance(self, steps: int) -> None:
        """So many steps of the stage are done."""

    def status(self, text: str) -> None:
        """What the run can say of itself so far, such as its best result."""

    def note(self, text: str) -> None:
        """Something the user should know."""


class NullProgress:
    """Listens and says nothing."""

    shows_logs = False

    def stage(self, what: str, total: int) -> None:
        pass

    def advance(self, steps: int) -> None:
        pass

    def status(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT = NullProgress()
"""Where nobody listens."""


def advancing(watcher: Progress, items: Iterable[T]) -> Iterator[T]:
    """Things one by one; the watcher is told as soon as each is done with."""
    for item in items:
        yield item
        watcher.advance(1)
