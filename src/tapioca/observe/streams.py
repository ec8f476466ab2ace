"""The residual stream of a batch at the tokens that count, for what is fitted to it."""

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from tapioca.models.capture import capture_residual_stream

Watch = Callable[[PreTrainedModel, dict[str, torch.Tensor], Callable[[int, torch.Tensor], None]], None]


def read_stream(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], place: int, watch: Watch = capture_residual_stream
) -> torch.Tensor:
    """The stream at one place, as `watch` numbers them, at all tokens but each prompt's first, whose states swamp the others; of
    prompts of one token at that.

    Returns:
        float64 of shape (token, width), on the CPU.
    """
    streams: list[torch.Tensor] = []

    def read(number: int, states: torch.Tensor) -> None:
        if number == place:
            streams.append(states.cpu().double())

    watch(model, batch, read)
    return streams[0][find_counted_tokens(batch)]


def find_counted_tokens(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which tokens of a batch count: bool of shape (batch, token), on the CPU."""
    mask = batch["attention_mask"].cpu().bool()
    return mask & ((mask.cumsum(1) > 1) | (mask.sum(1, keepdim=True) == 1))
