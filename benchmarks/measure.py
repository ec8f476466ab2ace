"""What the benchmarks here share: the machine they run on, the work its layers do, and the memory it holds."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil
import torch
import transformers
from transformers import PreTrainedModel

from tapioca.models.find import find_layers
from tapioca.plan import Plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def machine(threads: int) -> str:
    """Let torch use so many threads, and say what runs here."""
    torch.set_num_threads(threads)
    name = (
        torch.cuda.get_device_name() if DEVICE == "cuda" else f"{_processor()}, {threads} thread(s) of {os.cpu_count()}"
    )
    return f"{name}, torch {torch.__version__}, transformers {transformers.__version__}"


def list_single_drops(model: PreTrainedModel) -> list[Plan]:
    """The full model and every plan that drops one layer: what a first round scores."""
    layers = model.config.num_hidden_layers
    return [Plan.full(layers), *(Plan.drop(layers, [layer]) for layer in range(layers))]


def _processor() -> str:
    """The processor's name, where the system tells it."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


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


@dataclass
class Held:
    """Most memory held at once above what was held before, in MiB."""

    mebibytes: float = 0.0


@contextmanager
def peak() -> Iterator[Held]:
    """Watch memory: torch's own on a GPU; else the process's resident set, looked at every few milliseconds."""
    held, stop, process = Held(), Event(), psutil.Process()
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if DEVICE == "cuda" else process.memory_info().rss
    most = before

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, process.memory_info().rss)

    watcher = Thread(target=watch)
    if DEVICE == "cpu":
        watcher.start()
    try:
        yield held
    finally:
        stop.set()
        if watcher.ident:
            watcher.join()
        most = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else most
        held.mebibytes = (most - before) / 2**20
