"""Fields that transformers 5 writes in a new form, written in the form of version 4 as well, which other readers know.

Version 4 reads the new form without a word and takes its defaults: another RoPE base, and so other outputs.
"""

from __future__ import annotations

from typing import Any

THETA, PART = "rope_theta", "partial_rotary_factor"
_NEOX = {THETA: "rotary_emb_base", PART: "rotary_pct"}
FLAT_NAMES = {"gpt_neox": _NEOX, "gpt_neox_japanese": _NEOX}
"""What version 4 calls the two numbers of RoPE, by type, where that is not what version 5 does."""

_LOCAL = {"full_attention": THETA, "sliding_attention": "rope_local_base_freq"}
_MODERNBERT = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}
LAYER_NAMES = {
    "gemma3_text": _LOCAL,
    "gemma3n_text": _LOCAL,
    "modernbert": _MODERNBERT,
    "modernbert-decoder": _MODERNBERT,
    "olmo3": {"full_attention": THETA},
}
"""What version 4 calls the base of RoPE of each kind of layer, by type."""


def both_forms(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json with the fields of version 4 beside those of version 5; nothing that stands there is changed."""
    parts = {
        name: both_forms(value)
        for name, value in config.items()
        if name.endswith("_config") and isinstance(value, dict)
    }
    dtype = (
        {"torch_dtype": config["dtype"]} if isinstance(config.get("dtype"), str) and "torch_dtype" not in config else {}
    )
    return {**config, **parts, **dtype, **_rope(config)}


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """What version 4 reads about RoPE."""
    rope, kind = config.get("rope_parameters"), str(config.get("model_type"))
    if not isinstance(rope, dict) or config.keys() & {THETA, "rope_scaling", *FLAT_NAMES.get(kind, {}).values()}:
        return {}
    names = LAYER_NAMES.get(kind, {})
    layers = {name: rope[name] for name in names if isinstance(rope.get(name), dict)}
    if layers:
        bases = {names[layer]: value[THETA] for layer, value in layers.items() if THETA in value}
        return {**bases, **_scaling(layers.get("full_attention", {}))}
    called = FLAT_NAMES.get(kind, {})
    numbers = {called.get(name, name): rope[name] for name in (THETA, PART) if name in rope}
    return {**numbers, **_scaling(rope)} if numbers else {}


def _scaling(rope: dict[str, Any]) -> dict[str, Any]:
    """The scaling alone, where there is one; null is what version 4 writes where there is none."""
    scaling = {name: value for name, value in rope.items() if name not in (THETA, PART)}
    return {"rope_scaling": None if scaling in ({}, {"rope_type": "default"}) else scaling}


def tokenizer_of_both(config: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer_config.json that version 4 reads too: it has other names for a fast tokenizer of no special class,
    and for further special tokens."""
    kept = dict(config)
    if kept.get("tokenizer_class") == "TokenizersBackend":
        kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(kept.get("extra_special_tokens"), list):
        kept.setdefault("additional_special_tokens", kept.pop("extra_special_tokens"))
    return kept
