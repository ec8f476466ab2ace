"""Which files of a model folder hold its weights, as transformers chooses them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapioca.errors import ModelError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
WEIGHTS_FIELD = "transformers_weights"
"""Field of a config.json that names the file of weights, or the index of them."""


def find_weights_name(folder: Path, config: Mapping[str, Any] | None = None) -> str:
    """The file of weights, or the index of them, that transformers reads."""
    return (config or {}).get(WEIGHTS_FIELD) or (SINGLE if (folder / SINGLE).is_file() else INDEX)


def find_weight_files(folder: Path, config: Mapping[str, Any] | None = None) -> list[Path]:
    """The files transformers reads: the one the config names, else a single file, else the shards of an index.

    Other safetensors files are copies in other tools' forms, or left over.

    Raises:
        ModelError: there are none, the index cannot be read or names shards that are not there, or a single file
            stands beside the shards of an index, of which other tools would read the second.
    """
    chosen = find_weights_name(folder, config)
    path = folder / chosen
    if not path.is_file():
        raise ModelError(
            f"{folder} has {_describe_contents(folder)}; save the model there with save_pretrained (safetensors)"
        )
    if not chosen.endswith(".json"):
        if chosen == SINGLE and (folder / INDEX).is_file():
            _refuse_two(folder)
        return [path]
    shards = _read_shards(path)
    if absent := [shard.name for shard in shards if not shard.is_file()]:
        raise ModelError(
            f"{path} names {len(shards)} files of weights, {absent[0]} is not there; fetch or save the model again"
        )
    return shards


def _refuse_two(folder: Path) -> None:
    """An index whose shards are gone is left over; one whose shards are there is another set of weights."""
    others = [shard.name for shard in _read_shards(folder / INDEX) if shard.name != SINGLE and shard.is_file()]
    if others:
        raise ModelError(
            f"{folder} holds two sets of weights: {SINGLE}, which transformers reads, and {INDEX} with {others[0]}, "
            "which other tools read; remove the one that is left over"
        )


def _read_shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [index.parent / name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is no index of weights: {error or type(error).__name__}") from error


def _describe_contents(folder: Path) -> str:
    """What there is in place of weights that can be read."""
    if pickled := sorted(path.name for path in folder.glob("*.bin")):
        return f"only {', '.join(pickled)}, which may run code when read; convert it"
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return f"no {SINGLE} and no {INDEX}, only {', '.join(others[:3])}"
    return "no weights"
