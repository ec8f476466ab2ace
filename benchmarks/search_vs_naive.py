"""Tapioca's search against the published procedure of TALE: same model, data, scoring and decisions.

The published procedure scores every candidate from scratch, one prompt at a time, over the whole vocabulary at every
position. Both sides here score one label token for each example, start from the full model, and drop in each round the
layer whose absence leaves most right answers (ties: the lowest). Runs alternate in one process.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from tapioca.evaluate import evaluate
from tapioca.models.edit import apply
from tapioca.models.known import Reuse
from tapioca.models.sweep import Schedule
from tapioca.records import Example, Metric, Plan, Row, Trial
from tapioca.records.tree import layers_computed
from tapioca.search.greedy import Greedy
from tapioca.search.race import Race
from tapioca.tasks.batches import batches
from tapioca.tasks.choice import ACCURACY, Label

LABELS = (10, 11, 12, 13)
Search = Callable[[], list[tuple[Plan, float]]]
"""A search: the winner of each round with its score, the full model first."""


def make_model(layers: int, width: int, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with random weights, strong enough that every layer matters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=int(2.6875 * width), vocab_size=vocabulary,
        num_attention_heads=max(1, width // 32), num_key_value_heads=max(1, width // 64), max_position_embeddings=2048,
        initializer_range=1.2 / width**0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def make_task(examples: int, vocabulary: int, shortest: int, longest: int) -> Label:
    """Random prompts with random right answers."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(examples):
        prompt = tuple(rng.integers(20, vocabulary, rng.integers(shortest, longest + 1)).tolist())
        row = Row(inputs=prompt, targets=LABELS)
        gold = int(rng.integers(len(LABELS)))
        made.append(Example(id=f"{number:05d}", group=str(number), rows=(row,), prompt=prompt, gold=gold))
    return Label(name="random labels", examples=tuple(made), metric=ACCURACY)


def naive(model: LlamaForCausalLM, task: Label, rounds: int) -> list[tuple[Plan, float]]:
    """The published procedure."""
    layers = model.config.num_hidden_layers
    path = [(Plan.full(layers), naive_accuracy(model, task, Plan.full(layers)))]
    for _ in range(rounds):
        current = path[-1][0]
        best: tuple[Plan, float] | None = None
        for layer in current.kept:
            plan = Plan.drop(layers, [*current.drops, layer])
            accuracy = naive_accuracy(model, task, plan)
            if best is None or accuracy > best[1]:
                best = plan, accuracy
        assert best is not None
        path.append(best)
    return path


def naive_accuracy(model: LlamaForCausalLM, task: Label, plan: Plan) -> float:
    """Share of right answers, one prompt at a time, with the logits of all positions."""
    right = 0
    with torch.inference_mode(), apply(model, plan):
        for example in task.examples:
            logits = model(torch.tensor([example.prompt]).to(model.device)).logits
            right += int(logits[0, -1, list(LABELS)].argmax()) == example.gold
    return right / len(task.examples)


def tapioca(model: LlamaForCausalLM, task: Label, rounds: int, batch: int) -> list[tuple[Plan, float]]:
    """The same search by Tapioca; epsilon 1 lets every round's winner pass."""
    metric: Metric = task.metric
    search = Greedy(model.config.num_hidden_layers, metric, epsilon=1.0, max_drops=rounds)
    schedule = Schedule(reuse=Reuse(4 * 2**30, len(batches(task, batch))))
    while plans := search.ask():
        race = Race(len(plans), len(task.examples))
        scores = evaluate(model, task, plans, batch_size=batch, stopping=race, schedule=schedule)
        asked = (~np.isnan(scores.values)).sum(1)
        search.tell([
            Trial(plan=plan, score=score, likelihood=0.0, examples=None if seen == len(task.examples) else int(seen))
            for plan, score, seen in zip(plans, np.nanmean(scores.values, 1).tolist(), asked, strict=True)
        ])  # fmt: skip
    return [(trial.plan, trial.score) for trial in search.path]


def work(task: Label, path: list[tuple[Plan, float]], batch: int) -> tuple[float, float]:
    """Layers times tokens that either side computes for a search along a path, padding included."""
    layers, alone, shared = path[0][0].n_layers, 0.0, 0.0
    padded = sum(len(cut.examples) * cut.examples[0].length for cut in batches(task, batch))
    tokens = sum(example.length for example in task.examples)
    asked = [(path[0][0],)]
    asked += [tuple(Plan.drop(layers, [*plan.drops, layer]) for layer in plan.kept) for plan, _ in path[:-1]]
    for plans in asked:
        alone += sum(len(plan.kept) for plan in plans) * tokens
        shared += layers_computed(plans) * padded
    return alone, shared


def timed(search: Search) -> tuple[float, list[tuple[Plan, float]]]:
    start = time.perf_counter()
    path = search()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--tokens", type=int, nargs=2, default=(48, 80), metavar=("FROM", "TO"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or platform.machine()} CPU"
    print(f"{name}, {asked.threads} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"width {asked.width}, vocabulary {asked.vocabulary}, {asked.examples} prompts of {asked.tokens[0]} to "
          f"{asked.tokens[1]} tokens, {asked.rounds} round(s), batches of {asked.batch}")  # fmt: skip
    print("layers  naive s  Tapioca s  ratio [range]      layer-tokens, ratio  dropped    same decisions")
    task = make_task(asked.examples, asked.vocabulary, *asked.tokens)
    for layers in asked.layers:
        model = make_model(layers, asked.width, asked.vocabulary).to(device)
        tapioca(model, task.only(task.examples[: asked.batch]), 1, asked.batch)  # warm
        slow, fast, same = [], [], True
        for _ in range(asked.repeats):
            seconds, theirs = timed(lambda model=model: naive(model, task, asked.rounds))
            slow.append(seconds)
            seconds, ours = timed(lambda model=model: tapioca(model, task, asked.rounds, asked.batch))
            fast.append(seconds)
            same &= ours == theirs
        ratios = [left / right for left, right in zip(slow, fast, strict=True)]
        alone, shared = work(task, ours, asked.batch)
        print(f"{layers:6}  {statistics.median(slow):7.1f}  {statistics.median(fast):9.2f}  "
              f"{statistics.median(ratios):5.2f} [{min(ratios):.2f}, {max(ratios):.2f}]  "
              f"{alone / 1e6:7.2f} M  {alone / shared:5.2f}  {ours[-1][0]!s:9}  {'yes' if same else 'NO'}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
