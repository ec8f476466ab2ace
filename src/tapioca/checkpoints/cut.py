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
from tapioca.checkpoints.companions import copy_companions, write_settings
from tapioca.checkpoints.guard import check_rebuild
from tapioca.checkpoints.names import Kept, kept_tensors
from tapioca.checkpoints.older import both_forms, newer_only
from tapioca.disk import write_json
from tapioca.errors import ExportError
from tapioca.models.edit import cut_fields
from tapioca.models.files import weight_files, weights_name
from tapioca.models.prediction import is_prediction, prediction_counts, without_prediction
from tapioca.records import Plan

COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
TEXT = "text_config"


def cut_checkpoint(
    source: Path, target: Path, plan: Plan, model: PreTrainedModel, code: bool = False
) -> tuple[str, ...]:
    """Write `target` as the checkpoint `source` under a plan.

    Args:
        source: a Hugging Face model folder with safetensors weights.
        target: a folder that does not exist yet.
        plan: drops, and scales that weights can carry.
        model: the model in `source`, for the guards; it may lie on the meta device.
        code: whether Python files that come with the model are to come along.

    Returns:
        What was left out, one sentence each.

    Raises:
        ExportError: weights cannot carry the plan, transformers would build other layers from the cut config, or the
            files do not hold exactly the plan's layers.
    """
    scaled = scaled_weights(plan, model)
    before = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config = cut_config(before, plan, model.config)
    check_rebuild(model, plan, config)
    files = {file: _names(file) for file in weight_files(source, before)}
    names, counts = list(chain(*files.values())), _prediction_counts(before, model.config)
    kept = kept_tensors(names, plan, counted=max(counts.values(), default=0))
    check_writers(scaled, kept.values())
    target.mkdir(parents=True)
    write_settings(target / "config.json", config)
    index: dict[str, str] = {}
    size = 0
    for file, held in files.items():
        here = {name: kept[name] for name in held if name in kept}
        if here:
            size += _copy_tensors(file, target / file.name, here, scaled)
            index |= {tensor.new: file.name for tensor in here.values()}
    if (name := weights_name(source, before)).endswith(".json"):
        write_json(target / name, {"metadata": {"total_size": size}, "weight_map": index})
    left_out = (*_prediction_left_out(names, plan, counts), *newer_only(config))
    return *left_out, *copy_companions(source, target, code)


def _prediction_counts(config: dict[str, Any], live: PretrainedConfig) -> dict[str, int]:
    """What the file, or the class's own default, counts of layers for multi-token prediction."""
    parts = [part for whole in parts_of(config) for part in (whole, *_dicts(whole))]
    derived = prediction_counts(vars(live.get_text_config(decoder=True)))
    said = {name for part in parts for name in part}
    counts = {name: count for name, count in derived.items() if name not in said}
    for part in parts:
        counts |= prediction_counts(part)
    return counts


def _dicts(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for value in config.values() if isinstance(value, dict)]


def _prediction_left_out(names: list[str], plan: Plan, counts: dict[str, int]) -> list[str]:
    """What to say of layers for multi-token prediction."""
    tensors = [name for name in names if is_prediction(name, plan.n_layers, max(counts.values(), default=0))]
    if not (tensors or counts):
        return []
    held = f"{len(tensors)} tensors ({tensors[0]}, ...)" if tensors else "no tensors"
    fields = "".join(f", {name} is 0 instead of {count}" for name, count in counts.items())
    return [f"layers for multi-token prediction: {held}{fields}"]


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
    cut = [without_prediction(part) for part in cut]
    return both_forms(cut[0] if len(cut) == 1 else {**cut[0], TEXT: cut[1]})


def parts_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """A config.json, and its text part where it has one."""
    return [config, config[TEXT]] if isinstance(config.get(TEXT), dict) else [config]


def _cut_part(part: dict[str, Any], plan: Plan, derived: dict[str, Any]) -> dict[str, Any]:
    """The part that counts the layers, cut; fields it leaves empty are derived, and cut as derived."""
    behind = max(prediction_counts({**derived, **part}).values(), default=0)
    said = {name: _own(value, plan.n_layers, behind) for name, value in part.items() if value not in (None, [])}
    counts = [name for name in COUNTS if part.get(name) == plan.n_layers] or COUNTS[:1]
    promised = prediction_counts(derived)  # some classes count one where the file says nothing
    return {**promised, **part, **cut_fields({**derived, **said}, plan), **dict.fromkeys(counts, len(plan.kept))}


def _own(value: Any, n_layers: int, behind: int) -> Any:
    """A list by layer without what it says of the layers for multi-token prediction behind them."""
    return value[:n_layers] if isinstance(value, list) and behind and len(value) == n_layers + behind else value


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
