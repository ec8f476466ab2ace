"""What is in a folder that a command made, but for how long things took: equal for equal work."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

DURATION = re.compile(r"\d[\d.,]*\s(?:ms|s|min|h)\b")
"""As pages write it."""


def describe_folder(folder: Path) -> dict[str, Any]:
    """The content of every file under a folder, by its relative path, without durations; nothing of a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): _describe_file(path) if path.is_file() else None for path in paths}


def _describe_file(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_seconds(json.loads(path.read_text()))
    if path.suffix == ".sqlite":
        return _describe_store(path)
    if path.suffix == ".npz":
        return _describe_arrays(path)
    if path.suffix == ".html":
        return DURATION.sub("0 s", path.read_text())
    return path.read_bytes()


def _without_seconds(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_seconds(part) for name, part in content.items() if name != "seconds"}
    return [_without_seconds(part) for part in content] if isinstance(content, list) else content


def _describe_store(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that a store holds but for costs, which plans that are computed together share, and checksums over them."""
    with closing(sqlite3.connect(path)) as db:
        tables = {
            "plans": "digest, json",
            "answers": "plan, batch, answers",
            "data": "role, examples",
            "finished": "count(*)",
        }
        return {table: sorted(db.execute(f"SELECT {columns} FROM {table}")) for table, columns in tables.items()}


def _describe_arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays.pop("header")))
    return {"header": _without_seconds(header)} | {name: array.tobytes() for name, array in arrays.items()}


def list_differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """The files that one has and the other has not, or has otherwise."""
    return [
        f"{name}: {'missing' if name not in actual else 'left over' if name not in expected else 'differs'}"
        for name in sorted(expected.keys() | actual.keys())
        if name not in actual or name not in expected or expected[name] != actual[name]
    ]
