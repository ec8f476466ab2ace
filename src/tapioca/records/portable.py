"""Names of files and folders as they stand in what may be shared: nothing of the machine that they are on."""

import re
from pathlib import PurePosixPath, PureWindowsPath

OUTSIDE = re.compile(r"(~[^/\\]*|\.\.|[A-Za-z]:|)[/\\]")
"""How a path begins that leads out of the working folder."""

SOURCE = re.compile(r"(?:hub:|held-out:)?")
"""What may stand before a path where data are named."""

OPTIONS = re.compile(r",\w+=")
"""How options behind it begin."""


def portable_name(name: str) -> str:
    """What a user called a model or data, by its last part where that is a path out of the working folder.

    Args:
        name: a path, a pattern of them, a hub id, or `hub:` and either, with or without options behind commas.
    """
    head = name[: len(SOURCE.match(name)[0])]  # type: ignore[index]  # it matches anything
    body = name.removeprefix(head)
    path = OPTIONS.split(body, maxsplit=1)[0] if head else body
    return f"{head}{last_path_part(path)}{body.removeprefix(path)}" if OUTSIDE.match(path) else name


def last_path_part(path: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
