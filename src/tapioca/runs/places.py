"""Where models and data lie on this machine, by their digests: kept in the user's own cache, since records that may be
shared only name them."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tapioca.disk import make_folder, write_json
from tapioca.errors import StoreError

_places: dict[str, dict[str, str]] = {}
"""Those of this process, which the cache may be unable to keep."""


def remember_places(digest: str, **names: str | Path | None) -> None:
    """Note where something lies, as far as its names are files or folders here.

    Args:
        digest: of the model or the data, by which they are found again.
        names: of each part what the user called it.
    """
    places = {part: str(Path(name).resolve()) for part, name in names.items() if name and Path(name).exists()}
    _places[digest] = places
    with suppress(StoreError, RuntimeError):  # nobody's home, or a full disk: a later process must be told
        path = _note_path(digest)
        make_folder(path.parent)
        write_json(path, places)


def recall_places(digest: str) -> dict[str, str]:
    """The places that were noted, as far as there is still something; none for what is no digest."""
    places: Any = _places.get(digest)
    if places is None and digest.isalnum():
        with suppress(OSError, ValueError, RuntimeError):
            places = json.loads(_note_path(digest).read_text(encoding="utf-8"))
    items = places.items() if isinstance(places, dict) else ()
    return {part: place for part, place in items if isinstance(place, str) and Path(place).exists()}


def _note_path(digest: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tapioca" / "places" / f"{digest}.json"
