"""Copy a checkpoint under a plan, one file in memory at a time.

Tensors of dropped layers are left out, later layers are renumbered, the last weights of scaled branches are
scaled, and everything else is copied byte for byte.
"""

from __future__ import annotations

import json
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.checkpoints.bake import Scaled, check_writers, rescaled, scaled_weights
from tapioca.checkpoints.guard import check_rebuild
from tapioca.checkpoints.names import Kept, count_behind, kept_tensors
from tapioca.disk import write_json
from tapioca.errors import ExportError
from tapioca.models.edit import cut_fields
from tapioca.records import Plan

COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "merges*", "vocab*")
PREDICTION_LAYERS = "num_nextn_predict_layers"
"""Field of a config that counts layers for multi-token prediction, stored behind the others and not carried over."""
TEXT = "text_config"
INDEX = "model.safetensors.index.json"
NOT_COPIED = {"config.json", INDEX, "training.json"}


def cut_checkpoint(source: Path, target: Path, plan: Plan, model: PreTrainedModel) -> int:
    """Write `target` as the checkpoint `source` under a plan.

    Args:
        source: a Hugging Face model folder with safetensors weights.
        target: a folder that does not exist yet.
        plan: drops, and scales that weights can carry.
        model: the model in `source`, for the guards; it may lie on the meta device.

    Returns:
        How many layers for multi-token prediction the source has behind the others; they are left out.

    Raises:
        ExportError: weights cannot carry the plan, transformers would build other layers from the cut config, or the
            files do not hold exactly the plan's layers.
    """
    scaled = scaled_weights(plan, model)
    before = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config = cut_config(before, plan, model.config)
    check_rebuild(model, plan, config)
    files = {file: _names(file) for file in _weight_files(source)}
    kept = kept_tensors(
        chain(*files.values()), plan, more=max(part.get(PREDICTION_LAYERS) or 0 for part in parts_of(before))
    )
    check_writers(scaled, kept.values())
    target.mkdir(parents=True)
    write_json(target / "config.json", config)
    index: dict[str, str] = {}
    size = 0
    for file, names in files.items():
        here = {name: kept[name] for name in names if name in kept}
        if here:
            size += _copy_tensors(file, target / file.name, here, scaled)
            index |= {tensor.new: file.name for tensor in here.values()}
    if (source / INDEX).is_file():
        write_json(target / INDEX, {"metadata": {"total_size": size}, "weight_map": index})
    _copy_rest(source, target)
    return count_behind(set(chain(*files.values())) - kept.keys(), plan)


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
    text = live.get_text_config(decoder=True)
    counted = [part for part in parts_of(config) if any(part.get(name) == plan.n_layers for name in COUNTS)]
    if not counted and text.num_hidden_layers != plan.n_layers:
        raise ExportError(
            f"config.json has no count of {plan.n_layers} layers ({', '.join(COUNTS)}); cannot export this model"
        )
    derived = {name: value for name, value in vars(text).items() if not name.startswith("_")}
    cut = [
        _cut_part(part, plan, derived) if part in (counted or parts_of(config)[-1:]) else part
        for part in parts_of(config)
    ]
    return cut[0] if len(cut) == 1 else {**cut[0], TEXT: cut[1]}


def parts_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """A config.json, and its text part where it has one."""
    return [config, config[TEXT]] if isinstance(config.get(TEXT), dict) else [config]


def _cut_part(part: dict[str, Any], plan: Plan, derived: dict[str, Any]) -> dict[str, Any]:
    """The part that counts the layers, cut; fields it leaves empty are derived, and cut as derived."""
    said = {name: value for name, value in part.items() if value not in (None, [])}
    counts = [name for name in COUNTS if part.get(name) == plan.n_layers] or COUNTS[:1]
    cut = {**part, **cut_fields({**derived, **said}, plan), **dict.fromkeys(counts, len(plan.kept))}
    return {**cut, PREDICTION_LAYERS: 0} if PREDICTION_LAYERS in cut else cut


def _weight_files(source: Path) -> list[Path]:
    """The files transformers would read; other safetensors files in a folder are copies in other tools' forms."""
    if not (source / INDEX).is_file():
        return [source / "model.safetensors"]
    said = json.loads((source / INDEX).read_text(encoding="utf-8"))["weight_map"]
    return [source / name for name in sorted(set(said.values()))]


def _names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as tensors:
        return list(tensors.keys())


def _copy_tensors(file: Path, target: Path, kept: dict[str, Kept], scaled: list[Scaled]) -> int:
    """Copy some tensors of one file under new names, and return their size in bytes."""
    with safe_open(file, framework="pt") as tensors:
        copies = {tensor.new: rescaled(tensors.get_tensor(name), tensor, scaled) for name, tensor in kept.items()}
        save_file(copies, target, metadata=tensors.metadata() or {"format": "pt"})
        shutil.copymode(target.with_name("config.json"), target)  # safetensors 0.8 lets only the owner read it
        return sum(copy.nbytes for copy in copies.values())


def _copy_rest(source: Path, target: Path) -> None:
    """Tokenizer, generation config, chat template and licence."""
    for pattern in COPIED:
        for path in source.glob(pattern):
            if path.name not in NOT_COPIED:
                shutil.copyfile(path, target / path.name)
