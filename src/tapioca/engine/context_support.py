"""Whether a model can read a context once, as far as its configuration and its code tell."""

import inspect
from collections.abc import Iterator
from typing import Any

from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tapioca.models.branches import CACHE_ARGUMENTS, argument_names
from tapioca.models.find import find_layers
from tapioca.models.inputs import is_offloaded


def explain_whole_rows(model: PreTrainedModel, longest: int = 0) -> str:
    """Why rows have to be read whole; empty where what they begin with may be read once.

    Args:
        model: it may lie on the meta device.
        longest: tokens of the longest row.
    """
    config = model.config.get_text_config(decoder=True)
    if not model.can_generate() or getattr(config, "use_bidirectional_attention", False) in (True, "all"):
        return "its tokens see later ones"
    if set(CACHE_ARGUMENTS).isdisjoint(inspect.signature(model.forward).parameters):
        return "it takes no keys and values of what was read before"
    if any(
        type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers
    ):
        return "its layers keep recurrent states, or one another's keys and values"
    if any("shared_kv_states" in argument_names(block) for block in find_layers(model).blocks):
        return "its layers take keys and values from one another"
    if is_offloaded(model):
        return "its weights are fetched anew for every call of a layer"
    if longest > min(_list_rescaled_lengths(config), default=longest):
        return "its positions are scaled by the length of what is read"
    return ""


def _list_rescaled_lengths(config: Any) -> Iterator[int]:
    """The lengths above which rotary positions are scaled by the longest row of a batch."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in (parameters, *parameters.values()):
        if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
            yield rope.get("original_max_position_embeddings") or config.max_position_embeddings
