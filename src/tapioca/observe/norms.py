"""How large the residual stream is in front of each layer: what a plan sets its norms to."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.capture import capture_residual_stream
from tapioca.models.find import find_layers
from tapioca.observe.capture import SelectLastTokens, iterate_prompts
from tapioca.observe.streams import find_counted_tokens
from tapioca.plan import Plan, Tokens
from tapioca.records import Example


def make_norm_plan(profile: np.ndarray, tokens: Tokens) -> Plan:
    """The plan that sets the norm in front of every layer to that of a profile, (layer,), at these tokens."""
    return Plan(n_layers=len(profile), norms=dict(enumerate(profile.tolist())), norm_tokens=tokens)


def measure_norm_profiles(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int = 16
) -> dict[Tokens, np.ndarray]:
    """Mean Euclidean norm of the stream in front of each layer of the full model: at all tokens of the prompts but each one's
    first, whose norm swamps the rest, and at their last tokens.

    Returns:
        float64 of shape (layer,), by the tokens.

    Raises:
        NonFiniteError: a norm is NaN or infinite; names the layer.
    """
    n_layers = len(find_layers(model))
    sums: dict[Tokens, np.ndarray] = {"all": np.zeros(n_layers), "last": np.zeros(n_layers)}
    n_tokens = 0
    for _, batch, select_last in iterate_prompts(model, examples, batch_size):
        counted = find_counted_tokens(batch)
        n_tokens += int(counted.sum())

        def read(
            layer: int, states: torch.Tensor, counted: torch.Tensor = counted, select: SelectLastTokens = select_last
        ) -> None:
            if layer < n_layers:
                norms = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=torch.float32).cpu().double()
                sums["all"][layer] += float(norms[..., 0][counted].sum())
                sums["last"][layer] += float(select(norms).sum())

        capture_residual_stream(model, batch, read)
    profiles: dict[Tokens, np.ndarray] = {"all": sums["all"] / n_tokens, "last": sums["last"] / len(examples)}
    if not np.isfinite([*profiles.values()]).all():
        broken = int(np.flatnonzero(~np.isfinite([*profiles.values()]).all(axis=0))[0])
        raise NonFiniteError(f"the norm of the stream in front of layer {broken} is NaN or infinite")
    return profiles
