"""What a forward costs, against the arithmetic of its matrices."""

from __future__ import annotations

import pytest

from tapioca.models.cost import count_flops, count_layer_flops
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate
from tapioca.models.tiny import tiny
from tapioca.plan import Plan


@pytest.mark.parametrize(("tokens", "padding"), [(8, 0), (8, 3), (64, 0), (64, 3)])
def test_a_layer_costs_its_matrices_and_its_attention(tokens: int, padding: int) -> None:
    model = tiny("llama")
    config, rows = model.config, 3
    batch = collate(model, [tuple(range(3, 3 + length)) for length in (tokens, tokens, tokens - padding)])
    matrices = sum(p.numel() for p in find_layers(model).blocks[0].parameters() if p.dim() == 2)
    pairs = rows * config.num_attention_heads * tokens**2
    layer, rest = count_layer_flops(model, batch)
    assert layer == 2 * rows * tokens * matrices + 4 * pairs * config.head_dim
    head = 2 * rows * config.hidden_size * config.vocab_size
    assert 0 <= rest - head < 0.01 * layer  # rotary angles are a small product too
    assert count_flops(model, Plan.drop(4, [1, 2]), batch) == 2 * layer + rest
