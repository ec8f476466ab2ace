"""The machine that something was measured on, and the memory that work on it holds."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import psutil
import torch
import transformers

CPU_INFO = Path("/proc/cpuinfo")
POLL_SECONDS = 0.005
"""Between two looks at the memory of this process."""


class MachineFacts(NamedTuple):
    """What a time depends on beside the model.

    Attributes:
        name: of the processor or the accelerator that computes.
        cores: of this machine's processors.
        threads: that torch uses on them.
        torch, transformers: versions.
    """

    name: str
    cores: int
    threads: int
    torch: str
    transformers: str

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.threads} thread{'s' * (self.threads != 1)} of {self.cores} "
            f"core{'s' * (self.cores != 1)}, torch {self.torch}, transformers {self.transformers}"
        )


def describe_machine(device: str = "cpu") -> MachineFacts:
    """What computes here.

    Args:
        device: kind of device that the model is on: cpu, cuda, mps, ...
    """
    name = torch.cuda.get_device_name() if device == "cuda" else _name_processor()
    return MachineFacts(name, os.cpu_count() or 1, torch.get_num_threads(), torch.__version__, transformers.__version__)


def _name_processor() -> str:
    """The processor's name, where the system tells it."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


@dataclass
class HeldMemory:
    """Most memory held at once above what was held before, in bytes."""

    bytes: int = 0

    @property
    def mebibytes(self) -> float:
        """The same in MiB."""
        return self.bytes / 2**20


@contextmanager
def watch_memory(device: str = "cpu") -> Iterator[HeldMemory]:
    """Watch the memory of a body: what torch allocates on a CUDA device; else the resident set of this process, looked at
    every few milliseconds, of which memory that the process kept from earlier work is no part."""
    held = HeldMemory()
    with _watch_cuda(held) if device == "cuda" else _watch_process(held):
        yield held


@contextmanager
def _watch_cuda(held: HeldMemory) -> Iterator[None]:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        yield
    finally:
        held.bytes = torch.cuda.max_memory_allocated() - before


@contextmanager
def _watch_process(held: HeldMemory) -> Iterator[None]:
    process, stop = psutil.Process(), Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            held.bytes = max(held.bytes, process.memory_info().rss - before)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


@dataclass
class OtherProcesses:
    """What other processes did meanwhile.

    Attributes:
        share: of the processors' time; None where the system does not say.
    """

    share: float | None = None


@contextmanager
def watch_others() -> Iterator[OtherProcesses]:
    """Watch how much of this machine's processors other processes use."""
    others = OtherProcesses()
    before, own = psutil.cpu_times(), time.process_time()
    yield others
    after, own = psutil.cpu_times(), time.process_time() - own
    passed = {
        name: getattr(after, name) - getattr(before, name) for name in after._fields if not name.startswith("guest")
    }
    total, idle = sum(passed.values()), passed["idle"] + passed.get("iowait", 0.0)
    if total > 0:
        others.share = min(1.0, max(0.0, (total - idle - own) / total))
