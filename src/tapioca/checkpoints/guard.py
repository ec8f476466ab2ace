"""Would transformers build the same layers from the cut config as the live plan runs? Asked before a byte is written."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.checkpoints.companions import write_settings
from tapioca.errors import ExportError
from tapioca.models.find import find_layers
from tapioca.records import Plan, ranges

PLAIN = (bool, int, float, str, tuple)
NOT_COMPARED = {"layer_idx", "layer_id", "block_id", "num_hidden_layers", "attention_layers", "training"}
"""The layer's own number and the number and kinds of all layers, which are meant to change, and the mode."""


def check_rebuild(model: PreTrainedModel, plan: Plan, cut: dict[str, Any]) -> None:
    """Build the cut config on the meta device and compare its layers with those the plan keeps.

    Compared are, layer by layer: the kinds of modules, the names and shapes of parameters, and every plain
    attribute (scales, windows, flags). Key checks cannot see the last, and a wrong one changes every output.

    Raises:
        ExportError: they differ; the message names the first difference.
    """
    other = _built(model, cut)
    kept = [find_layers(model).blocks[layer] for layer in plan.kept]
    built = list(find_layers(other).blocks)
    if len(built) != len(kept):
        raise ExportError(
            f"the cut config builds {len(built)} layers, the plan keeps {len(kept)}; this model cannot be exported"
        )
    for layer, (mine, theirs) in zip(plan.kept, zip(kept, built, strict=True), strict=True):
        if difference := _first_difference(mine, theirs):
            raise ExportError(
                f"a checkpoint without layers {ranges(plan.drops)} cannot keep layer {layer} as it is: {difference}"
            )


def _built(model: PreTrainedModel, cut: dict[str, Any]) -> PreTrainedModel:
    """The model of the cut config, without weights."""
    with tempfile.TemporaryDirectory() as scratch:
        write_settings(Path(scratch) / "config.json", cut)
        try:
            config: PretrainedConfig = type(model.config).from_json_file(str(Path(scratch) / "config.json"))
            config._attn_implementation = model.config._attn_implementation
            with torch.device("meta"):
                return type(model)(config)
        except Exception as error:  # what a configuration class makes of values it does not expect
            raise ExportError(
                f"transformers cannot build the cut config: {' '.join(str(error).split())[:200]}"
            ) from error


def _first_difference(mine: nn.Module, theirs: nn.Module) -> str:
    """The first way in which two layers differ, or nothing."""
    pairs = [_described(layer) for layer in (mine, theirs)]
    for name in pairs[0] | pairs[1]:
        before, after = (described.get(name, "absent") for described in pairs)
        same = before == after or (
            isinstance(before, float) and isinstance(after, float) and math.isclose(before, after, rel_tol=1e-6)
        )
        if not same:
            return f"{name} would be {after} instead of {before}"
    return ""


def _described(layer: nn.Module) -> dict[str, Any]:
    """Module kinds, parameter shapes and plain attributes of a layer, by name."""
    found: dict[str, Any] = {}
    for path, module in layer.named_modules():
        found[f"the kind of {path or 'the layer'}"] = type(module).__name__
        parameters = {name: tuple(value.shape) for name, value in module._parameters.items() if value is not None}
        for name, value in {**vars(module), **parameters}.items():
            plain = tuple(value) if isinstance(value, list) else value
            if isinstance(plain, PLAIN) and name not in NOT_COMPARED and not name.startswith("_"):
                found[f"{path}.{name}".removeprefix(".")] = plain
    return found
