"""Tables of Arrow and pandas as rows: Parquet files, folders of `save_to_disk`, and what is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union

from tapioca.errors import DataError
from tapioca.reading import explain_damage, refuse_no_file
from tapioca.tasks.rows.source import Classes, Source

if TYPE_CHECKING:
    import pandas
    from datasets import Dataset, DatasetDict, Features

Rows: TypeAlias = Union["pandas.DataFrame", "Dataset", Sequence[Mapping[str, Any]]]
"""Rows in memory."""

SAVED = ("dataset_info.json", "dataset_dict.json")
"""What folders of `save_to_disk` hold: one data set, or one for each split."""

PREFERRED = ("validation", "train")
"""The splits that are read when none is named; never the test split, which a search would spoil for judging."""


def read_parquet(file: IO[bytes], path: Path) -> Iterator[Source]:
    """The rows of a Parquet file; an ArrowException where it is broken."""
    from pyarrow.parquet import read_table

    table = read_table(file)
    table.validate(full=True)
    classes: Classes = {}
    if b"huggingface" in (table.schema.metadata or {}):
        from datasets import Features

        classes = _classes(Features.from_arrow_schema(table.schema))
    for number, row in enumerate(table.to_pylist()):
        yield Source(row, f"{path} row {number}", classes)


def is_saved(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return any((path / name).is_file() for name in SAVED)


def read_saved(path: Path, split: str = "") -> list[Source]:
    """The rows of a folder written by `save_to_disk`; of several splits the one named, or `PREFERRED`.

    Raises:
        DataError: it is broken, or has no such split.
    """
    from datasets import DatasetDict, load_from_disk

    with explain_damage(path, DataError, "expected a folder that save_to_disk wrote"):
        for name in path.rglob("*"):
            if not name.is_dir():
                refuse_no_file(name)
        saved = load_from_disk(str(path))
        if isinstance(saved, DatasetDict):
            return rows_of_split(saved, split, str(path), f"hub:{path}")
        if split:
            raise DataError(f"{path} holds one data set and no splits; leave out split={split}")
        return _rows(saved, str(path))


def rows_of_split(splits: DatasetDict, requested_split: str, name: str, request: str) -> list[Source]:
    """The rows of the split asked for, else of one of `PREFERRED`.

    Args:
        splits: all there are of the data set `name`.
        requested_split: empty where none is named.
        request: what the user wrote, without a split.

    Raises:
        DataError: there is no such split, or it is empty.
    """
    known = ", ".join(sorted(splits))
    if requested_split and requested_split not in splits:
        raise DataError(f"{request}: the data set has no split '{requested_split}'; known: {known}")
    split = requested_split or next((split for split in PREFERRED if split in splits), "")
    if not split:
        raise DataError(f"{request}: which split? say {request},split=...; known: {known}")
    return _rows(splits[split], f"{name} {split}")


def rows_in_memory(rows: Rows) -> list[Source]:
    """Rows of a pandas DataFrame, a `datasets.Dataset` or a list of dicts, as a file with the same rows has them.

    Raises:
        DataError: they are none of these, there are none, or two columns share a name.
    """
    from datasets import Dataset
    from pandas import DataFrame

    if isinstance(rows, DataFrame):
        return _sources(_records(rows), "")
    if isinstance(rows, Dataset):
        return _rows(rows, "")
    if isinstance(rows, str | bytes) or not isinstance(rows, Sequence):
        raise DataError(
            f"got rows as a {type(rows).__name__}; expected a pandas DataFrame, a datasets.Dataset or a list of dicts"
        )
    return _sources(rows, "")


def _records(frame: pandas.DataFrame) -> list[dict[Any, Any]]:
    """The rows of a frame, None where a value is missing."""
    duplicates = frame.columns[frame.columns.duplicated()]
    if len(duplicates):
        raise DataError(f"two columns share a name, '{duplicates[0]}'; columns must differ")
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _rows(table: Dataset, name: str) -> list[Source]:
    table.data.validate(full=True)  # pyarrow follows damaged offsets out of the file
    return _sources(table.to_list(), name, _classes(table.features))


def _classes(features: Features) -> Classes:
    """The names of the classes of each column that has such, alone or in lists."""
    kinds = {column: getattr(feature, "feature", feature) for column, feature in features.items()}
    return {column: tuple(kind.names) for column, kind in kinds.items() if hasattr(kind, "names")}


def _sources(rows: Sequence[Any], name: str, classes: Classes | None = None) -> list[Source]:
    """Rows with their places; arrays, tuples and numpy's numbers become lists and Python's own. Refused where there are
    none, or one has no named fields."""
    if not rows:
        raise DataError(f"{name or 'the data in memory'} has no rows; expected at least one")
    sources = []
    for number, row in enumerate(rows):
        where = f"{name} row {number}".lstrip()
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: expected a dict with named fields, got {type(row).__name__}")
        sources.append(Source({str(field): _plain(cell) for field, cell in row.items()}, where, classes or {}))
    return sources


def _plain(cell: Any) -> Any:
    if hasattr(cell, "tolist"):
        return cell.tolist()
    return list(cell) if isinstance(cell, tuple) else cell
