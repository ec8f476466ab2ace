"""One short name for everything that could change an answer, and for everything that stands in a file."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tapioca.errors import StoreError

KEY = "fingerprint"
"""Under which a file has the fingerprint of all else that stands in it."""


def fingerprint(manifest: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits over a JSON-able record, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def add_fingerprint(content: dict[str, Any]) -> dict[str, Any]:
    """A record with its fingerprint."""
    return {**content, KEY: fingerprint(content)}


def refuse_changed(path: Path, content: dict[str, Any], remedy: str) -> None:
    """Refuse a file that does not hold what was written; one without a fingerprint may hold anything.

    Raises:
        StoreError: its fingerprint is of something else.
    """
    if KEY in content and content[KEY] != fingerprint({name: content[name] for name in content.keys() - {KEY}}):
        raise StoreError(
            f'{path} is damaged: its "{KEY}" is not that of what stands there; {remedy}, or take the key out if you '
            "changed the file yourself"
        )
