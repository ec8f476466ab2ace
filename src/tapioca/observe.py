"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.geometry.similarity import Similarity, angular_distances, influence, magnitude
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, last_tokens
from tapioca.models.watch import layer_outputs, residual_stream
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


def similarity(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> Similarity:
    """How little each layer changes the residual stream of some prompts, from one pass of the full model.

    Padding is left out; the last state is read before the final norm.

    Args:
        model: left as it was.
        examples: their prompts are read, without answers.
        batch_size: prompts run at once.
        on_batch: called after each batch with the number of prompts in it.

    Raises:
        NonFiniteError: a state is NaN, infinite or zero; names the layer.
    """
    order, layers = sorted(examples, key=lambda example: -len(example.prompt)), len(find_layers(model))
    sums, angles, tokens = np.zeros((2, layers)), np.zeros((layers + 1, layers + 1)), 0
    for start in range(0, len(order), batch_size):
        prompts = [example.prompt for example in order[start : start + batch_size]]
        changes, last = _stream(model, collate(model, prompts))
        tokens += sum(len(prompt) for prompt in prompts)
        sums += changes
        angles += angular_distances(last) * len(prompts)
        if on_batch:
            on_batch(len(prompts))
    return Similarity(influence=sums[0] / tokens, magnitude=sums[1] / tokens, angles=angles / len(order))


def _stream(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Block influence and relative magnitude summed over a batch's tokens, (2, layer), and the states of the last
    tokens, (layer + 1, example, width). Only two layers' states are held at once."""
    real, ends = batch["attention_mask"].bool(), last_tokens(batch)
    before: np.ndarray | None = None
    changes: list[tuple[float, float]] = []
    last: list[np.ndarray] = []

    def read(depth: int, states: torch.Tensor) -> None:
        nonlocal before
        after = states[real.to(states.device)].float().cpu().numpy()
        if before is not None:
            try:
                changes.append((influence(before, after).sum(), magnitude(before, after).sum()))
            except NonFiniteError as error:
                raise NonFiniteError(f"around layer {depth - 1}, {error}") from error
        before = after
        rows = torch.arange(len(states), device=states.device)
        last.append(states[rows, ends.to(states.device)].float().cpu().numpy())

    residual_stream(model, batch, read)
    return np.array(changes).T, np.stack(last)
