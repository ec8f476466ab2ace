"""One row, before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tapioca.errors import DataError

Classes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Source:
    """One row.

    Attributes:
        fields: its values by name.
        where: its place for messages, "file:line" or "file row N".
        classes: names of the classes of fields that hold their numbers (`datasets.ClassLabel`).
        note: what was guessed in reading its file, the same for all its rows; else empty.
    """

    fields: dict[str, Any]
    where: str
    classes: Classes = field(default_factory=dict)
    note: str = ""

    def without_field(self, name: str) -> DataError:
        """What to raise where a field is missing that a task needs."""
        return DataError(f"{self.where}: no field '{name}'; the row has: {', '.join(map(str, self.fields))}")
