"""Hub data sets, and local folders in their form, as rows."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
from tapioca.hub import explain_hub_error, hide_progress_bars
from tapioca.reading import explain_damage
from tapioca.tasks.rows.source import Source
from tapioca.tasks.rows.tables import is_saved, read_saved, rows_of_split
from tapioca.tasks.spec import HUB, parse_options


def read_hub(request: str) -> list[Source]:
    """Rows of one split of a data set, asked for as `read_rows` says.

    Raises:
        DataError: the hub has no such data set, configuration, split or revision, or does not give it out.
    """
    name, options = parse_options(request, ("name", "split", "revision"))
    if not name:
        raise DataError(f"'{request}' names no data set; expected {HUB}ID, for instance {HUB}google/boolq")
    if is_saved(Path(name)):
        return read_saved(Path(name), options["split"])
    if options["revision"] and Path(name).exists():
        raise DataError(f"{request}: a folder has no revisions; leave out revision={options['revision']}")
    splits = _load(name, options["name"] or None, options["revision"] or None)
    bare = ",".join(part for part in request.split(",") if not part.startswith("split="))
    with explain_damage(name, DataError):
        return rows_of_split(splits, options["split"], name, bare)


def _load(name: str, config: str | None, revision: str | None) -> Any:
    """All splits of a data set; refused where it cannot be loaded."""
    from datasets import load_dataset

    try:
        with hide_progress_bars():
            return load_dataset(name, config, revision=revision, cache_dir=_cache_of(Path(name)))
    except Exception as error:  # the network, the hub, or any file of the data set
        reason = explain_hub_error(error, "data set", name, revision)
        error_text = " ".join(str(error).split())[:200]
        raise DataError(reason or f"cannot load the data set '{name}': {error_text}") from error


def _cache_of(folder: Path) -> str | None:
    """Where the datasets library keeps what it made of a local folder; None, its usual place, for data of the hub.

    It keeps folders whose card lists configurations by their bare name, and would give back the rows of another folder of
    that name, or those from before a file changed.
    """
    if not folder.is_dir():
        return None
    from datasets import config

    stats = [(str(path), path.stat()) for path in sorted(folder.resolve().rglob("*")) if path.is_file()]
    state = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return str(Path(config.HF_DATASETS_CACHE) / f"folder-{sha256(repr(state).encode()).hexdigest()[:16]}")
