"""Fields that transformers 5 writes in a new form, written in the form of version 4 as well, which other readers know.

Version 4 reads the new form without a word and takes its defaults: another RoPE base, and so other outputs.
"""

from typing import Any

THETA, PART = "rope_theta", "partial_rotary_factor"
_NEOX = {THETA: "rotary_emb_base", PART: "rotary_pct"}
VERSION_4_ROPE_FIELDS = {"gpt_neox": _NEOX, "gpt_neox_japanese": _NEOX}
"""What version 4 calls the two numbers of RoPE, by type, where that is not what version 5 does."""

_LOCAL = {"full_attention": THETA, "sliding_attention": "rope_local_base_freq"}
_MODERNBERT = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}
VERSION_4_BASE_FIELDS = {
    "gemma3_text": _LOCAL,
    "gemma3n_text": _LOCAL,
    "modernbert": _MODERNBERT,
    "modernbert-decoder": _MODERNBERT,
    "olmo3": {"full_attention": THETA},
}
"""What version 4 calls the base of RoPE of each kind of layer, by type."""

RENAMED = {kind: {"num_local_experts": "num_experts"} for kind in ("qwen3_moe", "qwen3_vl_moe_text")}
"""What version 4 calls other fields, by type."""

SPACED = ("modernbert", "modernbert-decoder")
"""Types whose version 4 knows no list of layers, and takes every n-th for one of full attention."""

SPACING = "global_attn_every_n_layers"


def add_version_4_fields(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json with the fields of version 4 beside those of version 5, which reads the same from it as before."""
    parts = {
        name: add_version_4_fields(part)
        for name, part in config.items()
        if name.endswith("_config") and isinstance(part, dict)
    }
    renamed = {"dtype": "torch_dtype", **RENAMED.get(str(config.get("model_type")), {})}
    older = {old: config[new] for new, old in renamed.items() if config.get(new) is not None and old not in config}
    numbers = {name: _plain(part) for name, part in config.items() if isinstance(part, (dict, list))}
    spacing = {SPACING: _spacing(config)} if _spacing(config) else {}
    return {**config, **numbers, **parts, **older, **spacing, **_version_4_rope(config)}


def newer_only(config: dict[str, Any]) -> list[str]:
    """What of a config.json has no form that version 4 reads, one sentence each."""
    if config.get("model_type") in SPACED and config.get("layer_types") and not _spacing(config):
        return [f"a form for transformers 4, whose {config['model_type']} has full attention in every n-th layer only"]
    return []


def _spacing(config: dict[str, Any]) -> int | None:
    """Every how many layers one of full attention stands, where they stand evenly from the first on."""
    kinds = config.get("layer_types") if config.get("model_type") in SPACED else None
    for step in range(1, len(kinds or ()) + 1):
        if all((kind == "full_attention") == (index % step == 0) for index, kind in enumerate(kinds or ())):
            return step
    return None


def _plain(value: Any) -> Any:
    """Infinity and NaN as version 4 and most files of the hub have them; version 5 reads both."""
    if isinstance(value, dict):
        return float(value["__float__"]) if value.keys() == {"__float__"} else {k: _plain(v) for k, v in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _version_4_rope(config: dict[str, Any]) -> dict[str, Any]:
    """What version 4 reads about RoPE."""
    rope, kind = config.get("rope_parameters"), str(config.get("model_type"))
    if not isinstance(rope, dict) or config.keys() & {
        THETA,
        "rope_scaling",
        *VERSION_4_ROPE_FIELDS.get(kind, {}).values(),
    }:
        return {}
    names = VERSION_4_BASE_FIELDS.get(kind, {})
    layers = {name: rope[name] for name in names if isinstance(rope.get(name), dict)}
    if layers:
        bases = {names[layer]: layer_rope[THETA] for layer, layer_rope in layers.items() if THETA in layer_rope}
        return {**bases, **_version_4_rope_scaling(layers.get("full_attention", {}))}
    flat_names = VERSION_4_ROPE_FIELDS.get(kind, {})
    numbers = {flat_names.get(name, name): rope[name] for name in (THETA, PART) if name in rope}
    return {**numbers, **_version_4_rope_scaling(rope)} if numbers else {}


def _version_4_rope_scaling(rope: dict[str, Any]) -> dict[str, Any]:
    """The scaling alone, where there is one; null is what version 4 writes where there is none."""
    scaling = {name: parameter for name, parameter in rope.items() if name not in (THETA, PART)}
    return {"rope_scaling": None if scaling in ({}, {"rope_type": "default"}) else scaling}


def add_version_4_tokenizer_fields(config: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json that version 4 reads too: it has other names for a fast tokenizer of no special class,
    and for further special tokens."""
    adapted = dict(config)
    if adapted.get("tokenizer_class") == "TokenizersBackend":
        adapted["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(adapted.get("extra_special_tokens"), list):
        adapted.setdefault("additional_special_tokens", adapted.pop("extra_special_tokens"))
    return adapted
