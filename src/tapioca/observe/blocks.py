"""How well linear maps would do what blocks of layers do, from one pass of the full model."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.models.capture import capture_residual_stream
from tapioca.models.find import find_layers
from tapioca.observe.capture import SelectLastTokens, capture_batches, refuse_non_finite
from tapioca.plan import Plan
from tapioca.profiles.linear_maps import measure_map_residuals
from tapioca.records import Example

TOKENS = 4
"""Tokens of a prompt that are read: the last, and others spread evenly over the prompt behind its first."""


def measure_block_residuals(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_size: int = 16,
    seed: int = 0,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The residuals of `profiles.linear_maps.measure_map_residuals` of every block of layers, (layer + 1, layer + 1).

    Args:
        model: left as it was.
        examples: read without their answers.
        seed: of the halves that maps are fitted and judged on.
        on_batch: called after each batch with the number of prompts in it.

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    full = Plan.full(len(find_layers(model)))
    states: np.ndarray | None = None
    for indices, batch_states in capture_batches(
        model, full, examples, batch_size, capture_residual_stream, _select_some
    ):
        if states is None:
            states = np.empty((len(batch_states), len(examples), *batch_states.shape[2:]), dtype=np.float32)
        states[:, indices] = batch_states
        if on_batch:
            on_batch(len(indices))
    assert states is not None
    depths, count = len(states), len(examples)
    places = ["before the first layer", *(f"after layer {layer}" for layer in range(depths - 1))]
    refuse_non_finite(states.reshape(depths, count, -1), places, full)
    return measure_map_residuals(states, seed)


def _select_some(batch: dict[str, torch.Tensor]) -> SelectLastTokens:
    """Take the states of some tokens of each row: (batch, token, width)."""
    mask = batch["attention_mask"].bool()
    places = torch.stack([_spread(row.nonzero()[:, 0]) for row in mask])

    def select(states: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(states), device=states.device)[:, None]
        return states[rows, places.to(states.device)].cpu()

    return select


def _spread(tokens: torch.Tensor) -> torch.Tensor:
    """`TOKENS` of a row's places, ending with the last; a short row gives some twice."""
    shares = torch.arange(1, TOKENS + 1) / TOKENS
    return tokens[((len(tokens) - 1) * shares).round().long()]
