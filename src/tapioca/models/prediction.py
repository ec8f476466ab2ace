"""Layers for multi-token prediction: extra layers behind the model, which draft tokens and take no part in its outputs."""

import re
from collections.abc import Mapping
from typing import Any

from tapioca.models.families import LAYER_NAME

_NAMED = re.compile(r"(^|\.)(mtp|nextn)\w*\.")
_FIELD = re.compile(r"mtp|nextn")
_COUNTS = re.compile(r"(^|_)(num|n|layers|modules|depth)(_|$)")


def is_prediction_weight(name: str, n_layers: int, counted: int) -> bool:
    """Whether a tensor of a checkpoint belongs to such a layer: by a word of its name, or by one of the numbers that the
    configuration counts behind the model's own layers."""
    match = LAYER_NAME.match(name)
    return bool(_NAMED.search(name)) or bool(match and n_layers <= int(match["layer"]) < n_layers + counted)


def find_prediction_counts(config: Mapping[str, Any]) -> dict[str, int]:
    """The fields of a configuration that count such layers, and what they say: num_nextn_predict_layers,
    mtp_num_hidden_layers, num_mtp_modules, ..., where that is above 0."""
    return {
        name: field_value
        for name, field_value in config.items()
        if _FIELD.search(name)
        and _COUNTS.search(name)
        and isinstance(field_value, int)
        and field_value > 0
        and field_value is not True
    }


def remove_prediction_layers(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that counts no such layers and lists nothing by them."""
    zeros = dict.fromkeys(find_prediction_counts(config), 0)
    prediction_fields = {name: field_value for name, field_value in config.items() if _FIELD.search(name)}
    lists: dict[str, Any] = {name: [] for name, listed in prediction_fields.items() if isinstance(listed, list)}
    parts = {
        name: remove_prediction_layers(_zero_layer_counts(field_value))
        for name, field_value in prediction_fields.items()
        if isinstance(field_value, dict)
    }
    return {**config, **zeros, **lists, **parts}


def _zero_layer_counts(part: dict[str, Any]) -> dict[str, Any]:
    """A part that is about nothing else, whose counts may be called as those of a model are."""
    return {**part, **{name: 0 for name in ("num_hidden_layers", "num_layers") if isinstance(part.get(name), int)}}
