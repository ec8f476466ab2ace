"""Rows that cannot be used: collected over a whole file, then refused in one message, or skipped and counted."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tapioca.errors import DataError, RowError
from tapioca.tasks.text import TOO_LONG

Item = TypeVar("Item")
Made = TypeVar("Made")

BLANK = "blank"
"""Why a row of running text is skipped without being told: nothing stands in it."""

MAX_NAMED = 3
"""Rows named for each reason."""


@dataclass
class Sieve:
    """Lets through what can be made of the rows of a file.

    Attributes:
        name: of the file.
        skip: whether rows that cannot be used are left out.
        skip_long: whether those longer than the model can read are.
        errors_by_reason: what was wrong with the others, by reason.
    """

    name: str
    skip: bool = False
    skip_long: bool = False
    errors_by_reason: dict[str, list[RowError]] = field(default_factory=lambda: defaultdict(list))

    def make_each(self, make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """What is made of each item, but for those that cannot be used."""
        for item in items:
            try:
                yield make(item)
            except RowError as error:
                self.errors_by_reason[error.reason].append(error)

    @property
    def skipped(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return {reason: len(errors) for reason, errors in self.errors_by_reason.items()}

    def check(self, total: int) -> None:
        """Refuse in one DataError all rows that are not to be skipped, and a file of `total` rows of which none is left."""
        refused = {
            reason: errors
            for reason, errors in self.errors_by_reason.items()
            if not (self.skip or reason == BLANK or (self.skip_long and reason == TOO_LONG))
        }
        if sum(self.skipped.values()) == total:
            raise DataError(_line(self.name, self.errors_by_reason, total))
        if refused:
            flags = "--too-long skip" if set(refused) == {TOO_LONG} else "--skip-bad-rows"
            raise DataError(f"{_line(self.name, refused, total)}; mend the file, or leave such rows out with {flags}")


def _line(name: str, bad: dict[str, list[RowError]], total: int) -> str:
    """What is wrong with rows: the whole message of the only kind there is, else each kind with its count."""
    if len(bad) == 1:
        [errors] = bad.values()
        more = f"; and so in {len(errors) - 1} more of {total} rows" if len(errors) > 1 else ""
        return f"{errors[0]}{more}"
    count = sum(map(len, bad.values()))
    kinds = "; ".join(f"{len(errors)} {reason} ({_first(errors)})" for reason, errors in bad.items())
    return f"{name}: {count} of {total} rows cannot be used: {kinds}"


def _first(errors: list[RowError]) -> str:
    """The first message of a kind, and where the next ones are."""
    places = [str(error).partition(": ")[0] for error in errors[1:MAX_NAMED]]
    rest = ["..."] if len(errors) > MAX_NAMED else []
    return "; ".join([str(errors[0]), *places, *rest])
