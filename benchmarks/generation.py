"""Tapioca's search on written answers against the published procedure: same model, data, marking, tokens and decisions.

The published procedure writes every candidate's answers from scratch, one prompt at a time and without a KV cache. Both
sides start from the full model and drop in each round the layer whose absence leaves most right answers (ties: the
lowest). Answers have a fixed number of tokens, EOS is switched off; an answer is right where its last token is of the
right one of four classes. Every token of Tapioca's is compared with the published procedure's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from search_vs_naive import make_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Schedule
from tapioca.evaluate import evaluate
from tapioca.models.edit import apply
from tapioca.plan import Plan
from tapioca.records import Example, ExampleScore, Request, Trial
from tapioca.search.base import SearchSpace
from tapioca.search.floor import FlooredSearch
from tapioca.search.path import SearchPath
from tapioca.search.race import Race
from tapioca.search.stepwise import greedy
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches
from tapioca.tasks.choice import ACCURACY
from tapioca.timing import time_call

Texts = dict[tuple[Plan, str], list[int]]
"""What a plan wrote for the example of an id."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Write(Task):
    """Prompts to continue by `tokens` tokens."""

    tokens: int

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        return 1

    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        return [np.zeros(1) for _ in rows]

    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        return ExampleScore(right(readings[1].tolist(), example), 0.0)

    @property
    def max_new_tokens(self) -> int:
        return self.tokens


def right(ids: list[int], example: Example) -> float:
    return float(ids[-1] % 4 == example.gold)


def make_task(prompts: Sequence[tuple[int, ...]], tokens: int) -> Write:
    """Prompts with random right answers."""
    golds = np.random.default_rng(0).integers(4, size=len(prompts)).tolist()
    examples = [
        Example(
            id=f"{index:05d}", group=str(index), rows=(Request(inputs=prompt, targets=(0,)),), prompt=prompt, gold=gold
        )
        for index, (prompt, gold) in enumerate(zip(prompts, golds, strict=True))
    ]
    return Write(name="texts", examples=tuple(examples), metric=ACCURACY, tokens=tokens)


def weaken(model: PreTrainedModel, strength: float) -> PreTrainedModel:
    """Scale what each layer of a Llama adds to the residual stream."""
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(strength)
            layer.mlp.down_proj.weight.mul_(strength)
    return model


def random_prompts(count: int, vocabulary: int, shortest: int, longest: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.integers(20, vocabulary, rng.integers(shortest, longest + 1)).tolist()) for _ in range(count)]


def text_prompts(folder: str, file: Path, count: int, shortest: int, longest: int) -> list[tuple[int, ...]]:
    """The first tokens of the lines of a file."""
    rng, tokenizer = np.random.default_rng(0), AutoTokenizer.from_pretrained(folder)
    read = [
        tokenizer(line, truncation=True, max_length=longest)["input_ids"]
        for line in file.read_text().splitlines()
        if line
    ]
    return [tuple(ids[: int(rng.integers(shortest, longest + 1))]) for ids in read if len(ids) >= longest][:count]


def naive(model: PreTrainedModel, task: Write, plans: Sequence[Plan]) -> Texts:
    """The published procedure."""
    texts = {}
    for plan in plans:
        with torch.inference_mode(), apply(model, plan):
            for example in task.examples:
                prompt = torch.tensor([example.prompt]).to(model.device)
                output_ids = model.generate(  # type: ignore[operator]
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=task.tokens, do_sample=False,
                    use_cache=False, pad_token_id=0,
                )  # fmt: skip
                texts[plan, example.id] = output_ids[0, len(example.prompt) :].tolist()
    return texts


@dataclass(frozen=True)
class Written:
    """A search by Tapioca, what was written on the way, and the share of draft tokens that was accepted at last."""

    search: SearchPath
    texts: Texts
    accepted_share: float


def tapioca(model: PreTrainedModel, task: Write, rounds: int, batch: int) -> Written:
    """The same search by Tapioca; epsilon 1 lets every winner pass."""
    space = SearchSpace.of_layers(model.config.num_hidden_layers, max_drops=rounds)
    search = FlooredSearch(greedy(), space, ACCURACY, epsilon=1.0)
    task_batches = make_batches(task, batch)
    reuse, texts = StateCache(2**30, len(task_batches)), Texts()
    while plans := search.ask():
        race = Race(len(plans), len(task.examples))
        scores = evaluate(model, task, plans, batch_size=batch, stopping=race, schedule=Schedule(state_cache=reuse))
        scored_counts = (~np.isnan(scores.values)).sum(1).tolist()
        search.tell([
            Trial(plan=plan, score=score, log_likelihood=0.0, n_scored=None if n_scored == len(task.examples) else n_scored)
            for plan, score, n_scored in zip(plans, np.nanmean(scores.values, 1).tolist(), scored_counts, strict=True)
        ])  # fmt: skip
        for task_batch in task_batches:
            for plan, written in reuse.drafts.texts_of(task_batch.digest).items():
                texts |= {
                    (plan, example.id): ids.tolist() for example, ids in zip(task_batch.examples, written, strict=True)
                }
    return Written(search, texts, float(np.mean(list(reuse.drafts.accepted_share.values()))))


def candidates(layers: int, path: Sequence[Plan]) -> list[list[Plan]]:
    """The plans of every round of a search along a path, the full model first."""
    return [[path[0]], *([Plan.drop(layers, [*plan.drops, layer]) for layer in plan.kept] for plan in path[:-1])]


def decided(plans_by_round: Sequence[Sequence[Plan]], task: Write, texts: Texts) -> list[Plan]:
    """Each round's winner by the published procedure's answers."""

    def score(plan: Plan) -> float:
        return sum(right(texts[plan, example.id], example) for example in task.examples)

    return [max(plans, key=score) for plans in plans_by_round]


def compare(model: PreTrainedModel, task: Write, args: argparse.Namespace) -> str:
    """One line: seconds of either side, and whether they agree."""
    model.generation_config.eos_token_id = None
    layers, n_naive = model.config.num_hidden_layers, args.naive_examples or len(task.examples)
    tapioca(model, make_task([example.prompt for example in task.examples[:2]], 4), 1, 2)  # warm
    fast = time_call(partial(tapioca, model, task, args.rounds, args.batch))
    path, written = [trial.plan for trial in fast.result.search.path], fast.result.texts
    plans_by_round, naive_task = candidates(layers, path), task.select_examples(task.examples[:n_naive])
    all_plans = [plan for plans in plans_by_round for plan in plans]
    slow = time_call(partial(naive, model, naive_task, all_plans))
    slow_seconds = slow.seconds * len(task.examples) / n_naive
    shared = slow.result.keys() & written.keys()
    n_same = sum(slow.result[key] == written[key] for key in shared)
    is_complete = n_naive == len(task.examples)
    same = "-" if not is_complete else "yes" if decided(plans_by_round, naive_task, slow.result) == path else "NO"
    return (
        f"{layers:6}  {slow_seconds:8.1f}{' ' if is_complete else '*'}  {fast.seconds:9.2f}  {slow_seconds / fast.seconds:6.1f}  "
        f"{fast.result.accepted_share:8.0%}  {n_same:6} of {len(shared)} (of {len(slow.result)})  {path[-1]!s:10}  {same}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 16, 32], help="of the random models")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--strength", type=float, default=1.0, help="of the layers of the random models")
    parser.add_argument("--model", help="folder of a trained model, instead of random ones")
    parser.add_argument("--text", type=Path, help="a file whose lines the trained model continues")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--naive-examples", type=int, default=0, help="the published procedure on the first so many")
    parser.add_argument("--prompt", type=int, nargs=2, default=(48, 80), metavar=("FROM", "TO"), help="tokens")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"CPU, {args.threads} threads, torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{args.model or f'random models of width {args.width} and strength {args.strength}'}, {args.examples} prompts of {args.prompt[0]} to "
          f"{args.prompt[1]} tokens, answers of {args.tokens}, {args.rounds} round(s), batches of {args.batch}")  # fmt: skip
    if args.naive_examples:
        print(
            f"* timed on the first {args.naive_examples} examples, seconds scaled by their number; decisions not compared"
        )
    print("layers   naive s   Tapioca s   ratio  accepted  equal texts             dropped     same decisions")
    if args.model:
        model = AutoModelForCausalLM.from_pretrained(args.model).eval()
        prompts = text_prompts(args.model, args.text, args.examples, *args.prompt)
        print(compare(model, make_task(prompts, args.tokens), args))
        return
    prompts = random_prompts(args.examples, args.vocabulary, *args.prompt)
    for layers in args.layers:
        model = weaken(make_model(layers, args.width, args.vocabulary), args.strength)
        print(compare(model, make_task(prompts, args.tokens), args), flush=True)


if __name__ == "__main__":
    main()
