"""What differs between model families, as data: one row per `config.model_type`.

`layers` is the path of the layer list inside the base model (`model.base_model_prefix`). Families not
listed are served by the structural search in `find.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        layers: path of the layer list inside the base model.
    """

    layers: str


FAMILIES: dict[str, Family] = {
    "gpt2": Family(layers="h"),
    "gpt_neox": Family(layers="layers"),
    "llama": Family(layers="layers"),
    "mistral": Family(layers="layers"),
    "qwen2": Family(layers="layers"),
    "qwen3": Family(layers="layers"),
    "tapioca_learner": Family(layers="layers"),
}

LAYER = re.compile(r"^(?P<before>(?:\w+\.)*?(?:layers|h|blocks|block|layer)\.)(?P<layer>\d+)(?P<after>\..+)$")
"""The name of a layer's tensor in a checkpoint; anchored at the first numbered list, since experts follow inside it."""

NOT_PER_LAYER = frozenset({"architectures", "eos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens"})
"""Lists in a config that have nothing to do with layers, even where their length happens to agree."""
