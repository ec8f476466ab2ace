"""Would transformers build the same layers from the cut config as the live plan runs? Asked before a byte is written."""

import math
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from tapioca.checkpoints.companions import write_settings
from tapioca.disk import scratch_folder
from tapioca.errors import ExportError
from tapioca.models.find import find_layers
from tapioca.plan import Plan, format_layers

PLAIN_TYPES = (bool, int, float, str, tuple)
NOT_COMPARED = {"layer_idx", "layer_id", "block_id", "num_hidden_layers", "attention_layers", "training"}
"""The layer's own number and the number and kinds of all layers, which are meant to change, and the mode."""


def check_rebuild(model: PreTrainedModel, plan: Plan, cut: dict[str, Any]) -> None:
    """Build the cut config on the meta device and compare its layers with those the plan keeps.

    Compared are, layer by layer: the kinds of modules, the names and shapes of parameters, and every plain
    attribute (scales, windows, flags). Key checks cannot see the last, and a wrong one changes every output.

    Raises:
        ExportError: they differ; the message names the first difference.
    """
    rebuilt_model = _build_on_meta(model, cut)
    kept_layers = [find_layers(model).blocks[layer] for layer in plan.order]
    built_layers = list(find_layers(rebuilt_model).blocks)
    if len(built_layers) != len(kept_layers):
        raise ExportError(
            f"the cut config builds {len(built_layers)} layers, the plan runs {len(kept_layers)}; this model cannot be exported"
        )
    for layer, (kept_layer, built_layer) in zip(plan.order, zip(kept_layers, built_layers, strict=True), strict=True):
        if difference := _find_first_difference(kept_layer, built_layer):
            raise ExportError(f"a checkpoint {_describe_layers(plan)} cannot keep layer {layer} as it is: {difference}")


def _describe_layers(plan: Plan) -> str:
    """Which layers a checkpoint lacks, and which it has twice."""
    twice = [layer for layer in plan.kept if plan.order.count(layer) > 1]
    parts = [f"without layers {format_layers(plan.drops)}" if plan.drops else ""]
    parts += [f"with layers {format_layers(twice)} twice" if twice else ""]
    return " and ".join(filter(None, parts))


def _build_on_meta(model: PreTrainedModel, cut: dict[str, Any]) -> PreTrainedModel:
    """The model of the cut config, without weights."""
    with scratch_folder() as scratch:
        write_settings(scratch / "config.json", cut)
        try:
            config: PretrainedConfig = type(model.config).from_json_file(str(scratch / "config.json"))
            config._attn_implementation = model.config._attn_implementation
            with torch.device("meta"):
                return type(model)(config)
        except Exception as error:  # what a configuration class makes of values it does not expect
            raise ExportError(
                f"transformers cannot build the cut config: {' '.join(str(error).split())[:200]}"
            ) from error


def _find_first_difference(kept_layer: nn.Module, built_layer: nn.Module) -> str:
    """The first way in which two layers differ, or nothing."""
    descriptions = [_describe_layer(layer) for layer in (kept_layer, built_layer)]
    for name in descriptions[0] | descriptions[1]:
        before, after = (description.get(name, "absent") for description in descriptions)
        same = before == after or (
            isinstance(before, float) and isinstance(after, float) and math.isclose(before, after, rel_tol=1e-6)
        )
        if not same:
            return f"{name} would be {after} instead of {before}"
    return ""


def _describe_layer(layer: nn.Module) -> dict[str, Any]:
    """Module kinds, parameter shapes and plain attributes of a layer, by name."""
    description: dict[str, Any] = {}
    for path, module in layer.named_modules():
        description[f"the kind of {path or 'the layer'}"] = type(module).__name__
        parameters = {
            name: tuple(attribute.shape) for name, attribute in module._parameters.items() if attribute is not None
        }
        for name, attribute in {**vars(module), **parameters}.items():
            plain = tuple(attribute) if isinstance(attribute, list) else attribute
            if isinstance(plain, PLAIN_TYPES) and name not in NOT_COMPARED and not name.startswith("_"):
                description[f"{path}.{name}".removeprefix(".")] = plain
    return description
