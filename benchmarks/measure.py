"""What the benchmarks here share: the machine they run on, the work of layers, and the memory it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel

from tapioca.machine import describe_machine, watch_memory
from tapioca.models.find import find_layers
from tapioca.plan import Plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def machine(threads: int) -> str:
    """Let torch use so many threads, and say what runs here."""
    torch.set_num_threads(threads)
    return str(describe_machine(DEVICE))


def list_single_drops(model: PreTrainedModel) -> list[Plan]:
    """The full model and every plan that drops one layer: what a first round scores."""
    layers = model.config.num_hidden_layers
    return [Plan.full(layers), *(Plan.drop(layers, [layer]) for layer in range(layers))]


@dataclass
class Done:
    """Layers times tokens that were computed, padding included."""

    layer_tokens: int = 0


@contextmanager
def counting(model: PreTrainedModel) -> Iterator[Done]:
    """Count what the layers of a Llama really compute, at the first norm of each."""
    done = Done()

    def come(_: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
        done.layer_tokens += args[0].shape[0] * args[0].shape[1]

    norms = [block.get_submodule("input_layernorm") for block in find_layers(model).blocks]
    hooks = [norm.register_forward_pre_hook(come) for norm in norms]
    try:
        yield done
    finally:
        for hook in hooks:
            hook.remove()


peak = partial(watch_memory, DEVICE)
"""Watch the memory of a body, as `tapioca.machine.watch_memory` does on the device of these benchmarks."""
