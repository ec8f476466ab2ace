"""A KV cache that has room for what will be written, so that it is not copied for every token."""

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer


class PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer, (row, head, token, width), written into memory that is set aside once.

    Args:
        tokens: most tokens it will hold.
    """

    def __init__(self, tokens: int):
        super().__init__()
        self.tokens = tokens
        self._length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._buffers = [
                new.new_empty(*new.shape[:2], self.tokens, new.shape[3]) for new in (key_states, value_states)
            ]
        end = self._length + key_states.shape[2]
        for room, new in zip(self._buffers, (key_states, value_states), strict=True):
            room[:, :, self._length : end] = new
        self._length = end
        self.keys, self.values = (room[:, :, :end] for room in self._buffers)
        return self.keys, self.values


def preallocated_cache(model: PreTrainedModel, tokens: int) -> Cache | None:
    """A cache for so many tokens of each row; None where a model's layers keep anything but all keys and values."""
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return None
    return Cache(layers=[PreallocatedLayer(tokens) for _ in layers])
