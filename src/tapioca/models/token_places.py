"""Which tokens of a running batch are the first and the last of their rows, for what is done at some tokens alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from tapioca.errors import ModelError
from tapioca.models.branches import CACHE_ARGUMENTS, argument_names
from tapioca.plan import Tokens


class TokenPlaces:
    """What a model was last handed: its mask, and how many tokens its cache held before."""

    def __init__(self) -> None:
        self._mask: torch.Tensor | None = None
        self._has_past = False

    def read(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the model and of its body."""
        arguments = dict(zip(argument_names(module), args, strict=False)) | kwargs
        self._mask = arguments.get("attention_mask")
        self._has_past = any(_is_filled(arguments.get(name)) for name in CACHE_ARGUMENTS)
        if self._mask is not None and (not isinstance(self._mask, torch.Tensor) or self._mask.dim() != 2):
            raise ModelError(
                "norms are set at tokens that an attention mask of shape (batch, token) tells apart, this one is made for "
                "attention itself (a static cache does so); use the cache that transformers takes by default"
            )

    def find(self, tokens: Tokens, states: torch.Tensor) -> torch.Tensor:
        """Where to act on states of shape (batch, token, width): all tokens but each row's first, or each row's last.

        Returns:
            bool of shape (batch, token).

        Raises:
            ModelError: the model hands its layers states of another shape, or goes on from a cache in which earlier tokens
                stand as if each were the last.
        """
        if tokens == "last" and self._has_past:
            raise ModelError(
                "norms set at the last token alone are for reading: of a text that goes on, each token would once be the last; "
                "set them at all tokens, or use no cache"
            )
        if states.dim() != 3:
            raise ModelError(
                f"norms can be set where layers are handed (batch, token, width), these are handed {tuple(states.shape)}"
            )
        shape = states.shape[:2]
        if self._mask is None:
            chosen = torch.zeros(shape, dtype=torch.bool, device=states.device)
            chosen[:, -1] = tokens == "last"
            if tokens == "all":
                chosen[:, 0 if self._has_past else 1 :] = True
            return chosen
        counts = (self._mask != 0).long().to(states.device).cumsum(1)  # of tokens up to each place
        is_token = counts.diff(prepend=torch.zeros_like(counts[:, :1])) > 0
        chosen = is_token & (counts == counts[:, -1:] if tokens == "last" else counts > 1)
        return chosen[:, -shape[1] :].expand(shape)


def _is_filled(cache: Any) -> bool:
    """Whether a cache holds anything of earlier tokens."""
    if cache is None or not hasattr(cache, "layers"):
        return cache is not None
    return any(map(_is_layer_filled, cache.layers))


def _is_layer_filled(layer: Any) -> bool:
    has_states = getattr(layer, "has_previous_state", False)  # by number where a layer keeps several
    if any(has_states.values()) if isinstance(has_states, dict) else has_states:
        return True
    return isinstance(layer, CacheLayerMixin) and layer.get_seq_length() > 0


@contextmanager
def watch_token_places(model: PreTrainedModel) -> Iterator[TokenPlaces]:
    """While it holds, tells of every batch that the model reads which tokens are first and last."""
    places = TokenPlaces()
    handles = [
        part.register_forward_pre_hook(places.read, with_kwargs=True) for part in {model, model.base_model}
    ]  # some call their body, some only a part of it
    try:
        yield places
    finally:
        for handle in handles:
            handle.remove()


def set_norms(states: torch.Tensor, norm: float, where: torch.Tensor) -> torch.Tensor:
    """States whose Euclidean norm is `norm` at some tokens; those of zero stay so.

    Args:
        states: (batch, token, width).
        norm: above 0.
        where: bool of shape (batch, token).
    """
    norms = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=torch.float32)
    factors = torch.where(where[..., None] & (norms > 0), norm / norms.clamp_min(torch.finfo(norms.dtype).tiny), 1.0)
    return (states * factors).to(states.dtype)
