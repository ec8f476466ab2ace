"""Memory and time of an export, part by part: the writer, and the two sides of its verification.

A random Llama checkpoint of the asked size is made in shards; each part then runs in a process of its own.
Memory is the peak resident set above what the imports took, and how much of it was anonymous (the rest are
pages of the mapped checkpoint, which the kernel may take back).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event, Thread

MIB = 2**20
DROPS = (3, 4, 11)


def make(folder: Path, gigabytes: float, shards: int) -> None:
    """A random Llama of 24 layers in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    width = int((gigabytes * 2**30 / 2 / (24 * (4 + 3 * 2.75))) ** 0.5) // 64 * 64
    config = LlamaConfig(
        num_hidden_layers=24, hidden_size=width, intermediate_size=int(2.75 * width), num_attention_heads=width // 64,
        num_key_value_heads=width // 64, vocab_size=4096, max_position_embeddings=512, dtype="bfloat16",
    )  # fmt: skip
    model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    size = sum(parameter.nbytes for parameter in model.parameters())
    logging.disable_progress_bar()
    model.save_pretrained(folder, max_shard_size=int(size / shards * 1.02))


def writer(source: Path, target: Path) -> None:
    """What writes the new checkpoint; it never holds the model."""
    from tapioca.checkpoints.cut import cut_checkpoint
    from tapioca.models.load import load_on_meta
    from tapioca.plan import Plan

    cut_checkpoint(source, target, Plan.drop(24, DROPS), load_on_meta(source))


def live_side(source: Path, target: Path) -> None:
    """The live model under the plan answers the probe."""
    from tapioca.checkpoints.verify import compute_expected
    from tapioca.models.load import load
    from tapioca.plan import Plan

    compute_expected(load(source, device="cpu").model, Plan.drop(24, DROPS))


def fresh_side(source: Path, target: Path) -> None:
    """Plain transformers loads the new checkpoint and answers."""
    import torch
    from transformers.utils import logging

    from tapioca.checkpoints.reload import compute_answers, load_strictly

    logging.disable_progress_bar()
    model = load_strictly(str(target), "LlamaForCausalLM", 24 - len(DROPS), "auto", code=False)
    ones = torch.ones(2, 24, dtype=torch.long)
    compute_answers(model, {"input_ids": ones, "attention_mask": ones}, 16)


def status(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(part: Callable[[Path, Path], None], source: Path, target: Path) -> tuple[int, int, float]:
    """Run one part after its imports: its peak, its anonymous peak and its seconds."""
    import torch

    import tapioca.commands.export.run  # noqa: F401
    from tapioca.models.load import load_on_meta
    from tapioca.timing import time_call

    torch.set_num_threads(2)
    load_on_meta(source)  # imports the model's own code
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before, anonymous, stop, peaks = status("VmRSS"), status("RssAnon"), Event(), [0]

    def watch() -> None:
        while not stop.wait(0.005):
            peaks.append(status("RssAnon") - anonymous)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        seconds = time_call(partial(part, source, target)).seconds
    finally:
        stop.set()
        watcher.join()
    return status("VmHWM") - before, max(peaks), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.2)
    parser.add_argument("--shards", type=int, default=9)
    options = parser.parse_args()
    spawned = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as scratch, spawned:
        source, target = Path(scratch) / "full", Path(scratch) / "pruned"
        spawned.submit(make, source, options.gigabytes, options.shards).result()
        sizes = [path.stat().st_size for path in source.glob("*.safetensors")]
        print(f"checkpoint: {sum(sizes) / MIB:.0f} MiB in {len(sizes)} shards, the largest {max(sizes) / MIB:.0f} MiB")
        print(f"{'part':<22}{'peak MiB':>10}{'anonymous':>11}{'of a shard':>12}{'seconds':>9}")
        for part in (writer, live_side, fresh_side):
            peak, anonymous, seconds = spawned.submit(measure, part, source, target).result()
            share = peak / max(sizes)
            print(f"{part.__name__:<22}{peak / MIB:>10.0f}{anonymous / MIB:>11.0f}{share:>12.2f}{seconds:>9.1f}")


if __name__ == "__main__":
    main()
