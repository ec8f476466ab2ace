"""What is in a folder that a command made, but for what it cost: equal for equal work."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

TIMES = {"seconds", "ratios", "against_live", "others", "calls"}
COSTS = {*TIMES, "layer_forwards", "layer_tokens", "flops", "difference"}
"""What differs where work is done in other pieces: how long it took, and what plans computed together shared."""
NOT_COMPARED = {*COSTS, "fingerprint"}
"""Names in records; a fingerprint is one of costs too."""
NUMBER = re.compile(r"\d[\d.,]*(?: [kMGT]?(?:FLOP)?\b)?")


def describe_folder(folder: Path) -> dict[str, Any]:
    """The content of every file under a folder, by its relative path, without costs; nothing of a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): _describe_file(path) if path.is_file() else None for path in paths}


def _describe_file(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_costs(json.loads(path.read_text()))
    if path.suffix == ".sqlite":
        return _describe_store(path)
    if path.suffix == ".npz":
        return _describe_arrays(path)
    if path.suffix == ".html" and (path.parent / "bench.json").is_file():
        return "a page of times, whose sentences and axes depend on them"
    if path.suffix == ".html":
        return NUMBER.sub("0", path.read_text())  # its numbers are those of the record
    return path.read_bytes()


def _without_costs(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_costs(part) for name, part in content.items() if name not in NOT_COMPARED}
    return [_without_costs(part) for part in content] if isinstance(content, list) else content


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
    return {"header": _without_costs(header)} | {name: array.tobytes() for name, array in arrays.items()}


def list_differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """The files that one has and the other has not, or has otherwise."""
    differences = []
    for name in sorted(expected.keys() | actual.keys()):
        if name not in actual or name not in expected:
            differences.append(f"{name}: {'missing' if name in expected else 'left over'}")
        elif expected[name] != actual[name]:
            differences.append(f"{name}: {_find_difference(expected[name], actual[name])}")
    return differences


def _find_difference(expected: Any, actual: Any, where: str = "") -> str:
    """Where two contents differ first."""
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        name = next(name for name in expected if expected[name] != actual[name])
        return _find_difference(expected[name], actual[name], f"{where}.{name}")
    if isinstance(expected, (list, tuple)) and isinstance(actual, (list, tuple)) and len(expected) == len(actual):
        index = next(index for index in range(len(expected)) if expected[index] != actual[index])
        return _find_difference(expected[index], actual[index], f"{where}[{index}]")
    return f"{where} is {str(actual)[:60]!r} instead of {str(expected)[:60]!r}"
