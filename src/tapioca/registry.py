"""Things by name, to which other packages add theirs: as entry points, or by a call."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from tapioca.errors import UsageError, describe_error, did_you_mean

Thing = TypeVar("Thing")
NAME = re.compile(r"\w[\w.-]*")
"""What can be written between commas and before a sign of equality."""


class Registry(Mapping[str, Thing]):
    """The package's own things, those registered by a call, and those of other packages.

    What another package brings is imported when it is looked up: a list of names imports nothing, and a broken package
    breaks nothing but its own names.

    Args:
        what: what the things are, for messages.
        group: the group of entry points whose names are those of things.
        kind: what every thing is an instance of.
        own: the package's own.
        reserved: a name that means something else where names are written.
    """

    def __init__(self, what: str, group: str, kind: type[Thing], own: Mapping[str, Thing], reserved: str):
        self.what, self.group, self.kind, self.reserved = what, group, kind, reserved
        self._things = dict(own)

    def register(self, name: str, thing: Thing) -> None:
        """Add a thing for as long as this process runs; the same one again changes nothing.

        Raises:
            UsageError: the name is taken or cannot be used, or the thing is of another kind.
        """
        self._check(name, thing, f"'{name}'")
        if name in self and self[name] != thing:
            raise UsageError(f"there is a {self.what} '{name}' already; choose another name")
        self._things[name] = thing

    def __getitem__(self, name: str) -> Thing:
        """The thing of a name.

        Raises:
            UsageError: the name is unknown or taken twice; or what another package has under it cannot be imported or
                used.
        """
        entries = self._entries.get(name, [])
        origins = ["tapioca"] * (name in self._things) + [entry.value for entry in entries]
        if len(origins) > 1:
            raise UsageError(f"{self.what} '{name}' has several packages ({', '.join(origins)}); uninstall a package")
        if entries:
            return self._load(entries[0])
        if name not in self._things:
            raise UsageError(f"unknown {self.what} '{name}'; {did_you_mean(name, self)}")
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._things | self._entries)

    def __len__(self) -> int:
        return len(self._things | self._entries)

    @property
    def _entries(self) -> dict[str, list[EntryPoint]]:
        return _find_entry_points(self.group, tuple(sys.path))

    def _load(self, entry: EntryPoint) -> Thing:
        """Import what another package has under a name."""
        title = f"'{entry.name}' ({entry.value})"
        try:
            thing: Thing = entry.load()
        except (Exception, SystemExit) as error:  # whatever a module does when it is imported
            raise UsageError(
                f"{self.what} {title} cannot be imported: {describe_error(error)}; mend or uninstall its package"
            ) from error
        self._check(entry.name, thing, title)
        return thing

    def _check(self, name: str, thing: object, title: str) -> None:
        if not NAME.fullmatch(name) or name == self.reserved:
            raise UsageError(
                f"{self.what} {title} has no usable name; expected letters, digits, _, . and -, and not {self.reserved}"
            )
        if not isinstance(thing, self.kind):
            expected = f"{self.kind.__module__}.{self.kind.__qualname__}"
            raise UsageError(f"{self.what} {title} is of type {type(thing).__name__}; expected a {expected}")


@lru_cache
def _find_entry_points(group: str, path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Entry points by name, read once for each `sys.path`; equal ones, of a package that is found twice, count once."""
    try:
        entries = dict.fromkeys(entry_points(group=group))
    except Exception as error:  # one package's files are enough
        raise UsageError(f"the entry points of installed packages cannot be read: {describe_error(error)}") from error
    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entries:
        by_name.setdefault(entry.name, []).append(entry)
    return by_name
