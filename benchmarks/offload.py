"""A model larger than the memory it may take, searched from the disk: weights read in a round, and seconds.

A random Llama is loaded by accelerate with only a share of its weights allowed in memory; the rest stays on the disk
and is read whenever a layer runs. A round scores every plan that drops one layer: each plan alone, batch by batch, and
by Tapioca's sweep, with streams one after the other and stacked (what `--plan-batching auto` does with such a model).

The bytes are those of the weights that accelerate's hooks fetch, counted as they fetch them. Whether the system then
reads the disk or finds them in its page cache depends on the machine, and with it the seconds; the bytes do not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from accelerate.utils import OffloadedWeightsLoader
from measure import machine
from search_vs_naive import make_model, make_task
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from tapioca.engine.sweep import Batching, Schedule
from tapioca.evaluate import evaluate
from tapioca.plan import Plan
from tapioca.tasks.base import Task
from tapioca.timing import time_call

MIB = 2**20


@dataclass
class Fetched:
    """Bytes of weights fetched from files."""

    bytes: int = 0


@contextmanager
def fetching() -> Iterator[Fetched]:
    """Count what accelerate's hooks fetch from files, be it the disk or the page cache that answers."""
    fetched, original_getitem = Fetched(), OffloadedWeightsLoader.__getitem__

    def counted(loader: OffloadedWeightsLoader, key: str) -> torch.Tensor:
        tensor = original_getitem(loader, key)
        fetched.bytes += 0 if key in loader.state_dict else tensor.nbytes
        return tensor

    OffloadedWeightsLoader.__getitem__ = counted
    try:
        yield fetched
    finally:
        OffloadedWeightsLoader.__getitem__ = original_getitem


def offloaded(folder: Path, allowed: int) -> PreTrainedModel:
    """The model, with at most so many bytes of its weights in memory."""
    places = {"device_map": "auto", "max_memory": {"cpu": allowed}, "offload_folder": str(folder / "offload")}
    model = AutoModelForCausalLM.from_pretrained(folder, **places).eval()
    if "meta" not in {parameter.device.type for parameter in model.parameters()}:
        raise SystemExit(f"all weights fit into {allowed / MIB:.0f} MiB; allow less with --share")
    return model


def round_of(model: PreTrainedModel, task: Task, batch: int, way: Batching | None) -> tuple[np.ndarray, int, float]:
    """Scores of all single drops, bytes fetched and seconds; `way` is how streams run, None runs each plan alone."""
    layers = model.config.num_hidden_layers
    plans = [Plan.drop(layers, [layer]) for layer in range(layers)]
    groups, schedule = ([plans], Schedule(way=way)) if way else ([[plan] for plan in plans], Schedule())

    def score() -> list[np.ndarray]:
        return [evaluate(model, task, group, batch_size=batch, schedule=schedule).values for group in groups]

    with fetching() as fetched:
        timed = time_call(score)
    return np.concatenate(timed.result), fetched.bytes, timed.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--share", type=float, default=0.4, help="of the weights that memory may hold")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    logging.disable_progress_bar()
    print(machine(args.threads))
    task = make_task(args.examples, args.vocabulary, (args.tokens, args.tokens))
    with TemporaryDirectory() as scratch:
        make_model(args.layers, args.width, args.vocabulary).save_pretrained(scratch)
        size = sum(path.stat().st_size for path in Path(scratch).glob("*.safetensors"))
        model = offloaded(Path(scratch), int(args.share * size))
        offloaded_size = sum(p.numel() * p.element_size() for p in model.parameters() if p.device.type == "meta")
        print(
            f"{args.layers} layers of width {args.width}, {size / MIB:.0f} MiB of weights, {offloaded_size / MIB:.0f} of them on "
            f"disk; {args.examples} prompts of {args.tokens} tokens in batches of {args.batch}"
        )
        round_of(model, task.select_examples(task.examples[: args.batch]), args.batch, "stacked")  # warm
        print("plans     weights read MiB  ratio  seconds  ratio  scores      pick")
        first: tuple[np.ndarray, int, float] | None = None
        ways: tuple[Batching | None, ...] = (None, "single", "stacked")
        for way in ways:
            scores, fetched, seconds = round_of(model, task, args.batch, way)
            first = first or (scores, fetched, seconds)
            same = "the same" if np.array_equal(scores, first[0]) else "DIFFERENT"
            print(
                f"{way or 'alone':8}  {fetched / MIB:16,.0f}  {first[1] / fetched:5.2f}  {seconds:7.1f}  {first[2] / seconds:5.2f}  "
                f"{same:10}  drop {scores.mean(1).argmax()}",
                flush=True,
            )


if __name__ == "__main__":
    main()
