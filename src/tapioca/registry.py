"""Things by name, to which other packages add theirs: as entry points, or by a call."""

import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
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
        entries = set(self._entries.select(name=name))  # equal ones are of a package that is found twice
        origins = ["tapioca"] * (name in self._things) + sorted(entry.value for entry in entries)
        if len(origins) > 1:
            raise UsageError(
                f"{self.what} '{name}' is there more than once ({', '.join(origins)}); uninstall a package"
            )
        if entries:
            return self._load(entries.pop())
        if name not in self._things:
            raise UsageError(f"unknown {self.what} '{name}'; {did_you_mean(name, self)}")
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def _names(self) -> dict[str, None]:
        return dict.fromkeys([*self._things, *(entry.name for entry in self._entries)])

    @property
    def _entries(self) -> EntryPoints:
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
def _find_entry_points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The entry points of a group, read once for each `sys.path`."""
    try:
        return entry_points(group=group)
    except Exception as error:  # one package's files are enough
        raise UsageError(f"the entry points of installed packages cannot be read: {describe_error(error)}") from error
