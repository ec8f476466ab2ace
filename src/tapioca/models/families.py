"""What differs between model families, as data: one row per `config.model_type`.

`layers` is the path of the layer list inside the base model (`model.base_model_prefix`). Families not
listed are served by the structural search in `find.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        layers: path of the layer list inside the base model; None leaves it to the structural search.
        no_drops: why no layer can be dropped.
        first_stays: why layer 0 cannot be dropped.
    """

    layers: str | None = None
    no_drops: str = ""
    first_stays: str = ""


FAMILIES: dict[str, Family] = {
    "gpt2": Family(layers="h"),
    "gpt_neox": Family(layers="layers"),
    "jamba": Family(
        no_drops="which layers are attention and which are Mamba follows from their position by a fixed period"
    ),
    "llama": Family(layers="layers"),
    "mistral": Family(layers="layers"),
    "qwen2": Family(layers="layers"),
    "qwen3": Family(layers="layers"),
    "recurrent_gemma": Family(no_drops="which layers are recurrent follows from their position by a fixed period"),
    "rwkv": Family(no_drops="weights are rescaled by the layer's number while the model runs"),
    "t5": Family(first_stays="the relative position bias of all layers lives in the first one"),
    "tapioca_learner": Family(layers="layers"),
    "zamba": Family(no_drops="its shared attention layers are tied by their absolute numbers"),
    "zamba2": Family(no_drops="its shared attention layers are tied by their absolute numbers"),
}


def family_of(model: PreTrainedModel) -> Family:
    """The row of a model's type, or one that says nothing."""
    return FAMILIES.get(model.config.model_type, Family())


INDEX_LISTS = frozenset({"mlp_only_layers", "moe_layers", "attn_layer_indices", "full_attn_idxs", "local_layer_ids"})
"""Lists in a config that name layers by number: cut and renumbered."""

LEADING_COUNTS = frozenset({"first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"})
"""Numbers in a config that count how many of the first layers are of a kind: less the ones dropped."""

LAYER = re.compile(r"^(?P<before>(?:\w+\.)*?(?:layers|h|blocks|block|layer)\.)(?P<layer>\d+)(?P<after>\..+)$")
"""The name of a layer's tensor in a checkpoint; anchored at the first numbered list, since experts follow inside it."""

NOT_PER_LAYER = frozenset({"architectures", "eos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens"})
"""Lists in a config that have nothing to do with layers, even where their length happens to agree."""
