"""Keys and values that stand before a batch, in the place of a layer of the KV cache."""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, DynamicLayer


class KeyValues(DynamicLayer):
    """Keys and values of one layer, (row, head, token, width), to which a batch adds its own."""

    keys: torch.Tensor
    values: torch.Tensor

    @classmethod
    def hold(cls, keys: torch.Tensor, values: torch.Tensor) -> KeyValues:
        """These keys and values."""
        layer = cls()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        return layer

    @classmethod
    def of_length(cls, tokens: int) -> KeyValues:
        """As long as so many tokens, and nothing else: models ask a cache how long it is."""
        return cls.hold(torch.empty(1, 1, tokens, 1), torch.empty(1, 1, tokens, 1))

    def select_rows(self, rows: torch.Tensor) -> KeyValues:
        """Those of some rows; none where there are none, since attention is not computed."""
        if not self.is_initialized:
            return KeyValues()
        rows = rows.to(self.keys.device)
        return KeyValues.hold(self.keys[rows], self.values[rows])


def repeat_layer(layer: KeyValues, count: int) -> Cache:
    """A cache of so many layers, each of which is this one."""
    return Cache(layers=[layer] * count)
