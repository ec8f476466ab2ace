"""Models that run out of memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from tapioca.engine.sweep import Schedule
from tapioca.models.find import find_layers
from tapioca.models.tiny import tiny


def limit_streams(model: PreTrainedModel, streams: int) -> tuple[list[int], list[RemovableHandle]]:
    """Let layers run out of memory as soon as one is given more streams in one pass of the model; returns the most
    streams that a layer was given in each pass so far, and what to remove to end it."""
    rows, passes, given = 0, list[int](), Counter[int]()

    def begin(_: nn.Module, args: tuple[torch.Tensor]) -> None:
        nonlocal rows
        rows = len(args[0])
        given.clear()
        passes.append(0)

    def come(module: nn.Module, args: tuple[torch.Tensor]) -> None:
        given[id(module)] += len(args[0]) // rows
        passes[-1] = max(passes[-1], given[id(module)])
        if passes[-1] > streams:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    norms = [block.get_submodule("input_layernorm") for block in find_layers(model).blocks]
    hooks = [norm.register_forward_pre_hook(come) for norm in norms]
    return passes, [*hooks, model.get_input_embeddings().register_forward_pre_hook(begin)]


@contextmanager
def memory_for(model: PreTrainedModel, streams: int) -> Iterator[list[int]]:
    """The same as long as the body lasts."""
    passes, hooks = limit_streams(model, streams)
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class OpenScarceModel:
    """What a worker loads: a tiny model with room for so many streams."""

    streams: int

    def __call__(self) -> tuple[PreTrainedModel, Schedule]:
        model = tiny("llama")
        limit_streams(model, self.streams)
        return model, Schedule()
