"""Which files of a model folder hold its weights, as transformers chooses them."""

import json
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from tapioca.errors import ModelError
from tapioca.reading import explain_damage, read_text

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
        ModelError: there are none, the index cannot be read or names shards that are not there or not in the folder, or a
            single file stands beside the shards of an index, of which other tools would read the second.
    """
    chosen = find_weights_name(folder, config)
    _check_plain(chosen, f"{folder / 'config.json'}: {WEIGHTS_FIELD}")
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
    with explain_damage(index, ModelError, "expected an index of weights as save_pretrained writes it"):
        names = sorted(set(json.loads(read_text(index))["weight_map"].values()))
    for name in names:
        _check_plain(name, str(index))
    return [index.parent / name for name in names]


def _check_plain(name: object, where: str) -> None:
    """Refuse with a ModelError what is no name of a file beside the one that names it."""
    if not (isinstance(name, str) and name.strip(".") and PureWindowsPath(name).name == name and len(name) < 200):
        raise ModelError(f"{where} names the weights {name!r:.80}; expected a file in the same folder, without a path")


def check_inside(path: Path, folder: Path) -> None:
    """Refuse with a ModelError a file of a model folder that is a link out of it; files of the hub's cache are links to
    the blobs of their repository."""
    inside = folder.resolve()
    repository = inside.parent.parent
    is_cached = inside.parent.name == "snapshots" and repository.name.startswith("models--")
    place = path.resolve()
    if not (place.is_relative_to(inside) or (is_cached and place.is_relative_to(repository / "blobs"))):
        raise ModelError(f"{path} is a link to {place}, out of the model's folder; put the file itself there")


def _describe_contents(folder: Path) -> str:
    """What there is in place of weights that can be read."""
    if pickled := sorted(path.name for path in folder.glob("*.bin")):
        return f"only {', '.join(pickled)}, which may run code when read; convert it"
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return f"no {SINGLE} and no {INDEX}, only {', '.join(others[:3])}"
    return "no weights"
