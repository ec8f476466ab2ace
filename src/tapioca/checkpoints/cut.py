"""Copy a checkpoint without some of its layers, one file in memory at a time.

Names on disk are the source of truth: tensors of dropped layers are left out, later layers are
renumbered, everything else is copied byte for byte.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.checkpoints.guard import check_rebuild
from tapioca.disk import write_json
from tapioca.errors import ExportError
from tapioca.models.edit import cut_fields
from tapioca.models.families import LAYER
from tapioca.records import Plan

COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "merges*", "vocab*")
NOT_COPIED = {"config.json", "model.safetensors.index.json", "training.json"}


def cut_checkpoint(source: Path, target: Path, plan: Plan, model: PreTrainedModel) -> None:
    """Write `target` as the checkpoint `source` without the layers the plan drops.

    Args:
        source: a Hugging Face model folder with safetensors weights.
        target: a folder that does not exist yet.
        plan: whole-layer drops only.
        model: the model in `source`, for the guard of `check_rebuild`.

    Raises:
        ExportError: the plan scales, transformers would build other layers from the cut config, or the files do not
            hold exactly the plan's layers.
    """
    if plan.scaled or plan.attention or plan.mlp:
        raise ExportError(f"the plan scales ({plan}); only plans that drop whole layers can be exported so far")
    config = cut_config(json.loads((source / "config.json").read_text(encoding="utf-8")), plan, model.config)
    check_rebuild(model, plan, config)
    target.mkdir(parents=True)
    write_json(target / "config.json", config)
    files = sorted(source.glob("*.safetensors"))
    names = {file: _names(file) for file in files}
    _check_layers([name for found in names.values() for name in found], plan)
    new_number = {old: new for new, old in enumerate(plan.kept)}
    index: dict[str, str] = {}
    for file in files:
        renamed = {name: new for name in names[file] if (new := _renamed(name, new_number))}
        if renamed:
            _copy_tensors(file, target / file.name, renamed)
            index |= dict.fromkeys(renamed.values(), file.name)
    if [file.name for file in files] != ["model.safetensors"]:
        size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
        write_json(target / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index})
    _copy_rest(source, target)


def cut_config(config: dict[str, Any], plan: Plan, live: PretrainedConfig) -> dict[str, Any]:
    """A config.json with the layer count and every per-layer list cut to the layers kept; nested configs too.

    Args:
        config: the file's content.
        plan: whole-layer drops only.
        live: what transformers makes of it. Lists it derives from a layer's position (which layers slide
            their attention window, for instance) are written out, since a shorter model derives others.

    Raises:
        ExportError: no field counts the plan's layers.
    """
    owner = next(
        (part for part in (config, config.get("text_config") or {}) if any(name in part for name in COUNTS)), {}
    )
    counts = [name for name in COUNTS if owner.get(name) == plan.n_layers]
    if not counts:
        raise ExportError(
            f"config.json has no count of {plan.n_layers} layers ({', '.join(COUNTS)}); cannot export this model"
        )
    derived = {
        name: value for name, value in vars(live.get_text_config(decoder=True)).items() if not name.startswith("_")
    }
    cut = {**owner, **cut_fields({**derived, **owner}, plan), **dict.fromkeys(counts, len(plan.kept))}
    return cut if owner is config else {**config, "text_config": cut}


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _check_layers(names: list[str], plan: Plan) -> None:
    """Refuse files whose numbered lists are not exactly the plan's layers."""
    lists: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if found := LAYER.match(name):
            lists[found["before"]].add(int(found["layer"]))
    if [numbers for numbers in lists.values() if numbers != set(range(plan.n_layers))] or len(lists) != 1:
        seen = ", ".join(f"{name} ({len(numbers)})" for name, numbers in lists.items()) or "none"
        raise ExportError(f"expected one list of {plan.n_layers} layers in the checkpoint, saw: {seen}")


def _renamed(name: str, new_number: dict[int, int]) -> str | None:
    """The name a tensor gets, or None if its layer is dropped."""
    found = LAYER.match(name)
    if not found:
        return name
    new = new_number.get(int(found["layer"]))
    return None if new is None else f"{found['before']}{new}{found['after']}"


def _copy_tensors(file: Path, target: Path, renamed: dict[str, str]) -> None:
    """Copy some tensors of one file under new names, one file in memory at a time."""
    with safe_open(file, framework="pt") as tensors:
        save_file(
            {new: tensors.get_tensor(old) for old, new in renamed.items()},
            target,
            metadata=tensors.metadata() or {"format": "pt"},
        )


def _copy_rest(source: Path, target: Path) -> None:
    """Tokenizer, generation config, chat template and licence."""
    for pattern in COPIED:
        for path in source.glob(pattern):
            if path.name not in NOT_COPIED:
                shutil.copyfile(path, target / path.name)
