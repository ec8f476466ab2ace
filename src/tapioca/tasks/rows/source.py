"""One row, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """One row: its fields, and its place for messages, "file:line" or "file row N"."""

    fields: dict[str, Any]
    where: str
