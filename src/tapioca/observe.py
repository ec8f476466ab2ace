"""Model + plan + examples -> the hidden states at the last prompt token, after every layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, last_tokens
from tapioca.models.watch import layer_outputs
from tapioca.records import Example, Plan

SAMPLE = 512
"""Most examples whose states are kept; the number of pairs grows with its square."""


def sample(examples: Sequence[Example], size: int, seed: int) -> tuple[Example, ...]:
    """A seeded sample in a fixed order, the same for every plan: at most one example of a group, so that they are independent."""
    order = np.random.default_rng(seed).permutation(len(examples))
    first_of_group = {examples[at].group: at for at in reversed(order)}
    chosen = [at for at in order if first_of_group[examples[at].group] == at][:size]
    return tuple(examples[at] for at in sorted(chosen))


def states(model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16) -> np.ndarray:
    """Hidden states after each layer the plan keeps, at each prompt's last token, before the final norm.

    Returns:
        float32 of shape (kept layer, example, width).

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    order = sorted(range(len(examples)), key=lambda at: -len(examples[at].prompt))
    found: np.ndarray | None = None
    with apply(model, plan):
        for start in range(0, len(order), batch_size):
            at = order[start : start + batch_size]
            last: dict[int, torch.Tensor] = {}
            batch = collate(model, [examples[index].prompt for index in at])
            ends = last_tokens(batch)

            def read(place: int, output: torch.Tensor, last: dict[int, torch.Tensor] = last, ends: Any = ends) -> None:
                rows = torch.arange(len(output), device=output.device)
                last[place] = output[rows, ends.to(output.device)].float().cpu()

            layer_outputs(model, batch, read)
            stacked = torch.stack([last[place] for place in range(len(plan.kept))]).numpy()
            if found is None:
                found = np.empty((len(plan.kept), len(examples), stacked.shape[2]), dtype=np.float32)
            found[:, at] = stacked
    if found is None:
        raise ValueError("no examples to observe")
    broken = ~np.isfinite(found).all(axis=(1, 2))
    if broken.any():
        raise NonFiniteError(
            f"the states after layer {plan.kept[int(broken.argmax())]} are NaN or infinite under plan '{plan}'"
        )
    return found
