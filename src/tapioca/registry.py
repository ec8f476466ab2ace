"""Names that stand for code: looked up when used, so that a list of names costs no import."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from tapioca.errors import UsageError, did_you_mean


class Registry(Mapping[str, Any]):
    """A table name -> "module:attribute" that imports an entry when it is first asked for."""

    def __init__(self, what: str, entries: Mapping[str, str]):
        self.what, self.entries = what, dict(entries)

    def __getitem__(self, name: str) -> Any:
        """The object behind a name.

        Raises:
            UsageError: the name is unknown; the message names the nearest known one.
        """
        if name not in self.entries:
            raise UsageError(f"unknown {self.what} '{name}'; {did_you_mean(name, self.entries)}")
        module, _, attribute = self.entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
