"""Tapioca's search against the published procedure of TALE: same model, data, scoring and decisions.

The published procedure scores every candidate from scratch, one prompt at a time, over the whole vocabulary at every
position. Both sides here score one label token for each example, or with `--choices` so many written-out choices, for
which the published procedure reads one row a choice; they start from the full model, and drop in each round the layer
whose absence leaves most right answers (ties: the lowest). Runs alternate in one process. Layer-tokens are counted
while the models run, and memory is the peak above what the process held before a run. The models are random; the right
answer is the full model's own for a share of the prompts, and drawn for the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from measure import DEVICE, counting, machine, peak
from transformers import LlamaConfig, LlamaForCausalLM

from tapioca.engine.state_cache import StateCache
from tapioca.engine.sweep import Schedule
from tapioca.evaluate import evaluate
from tapioca.models.edit import apply
from tapioca.plan import Plan
from tapioca.records import Example, Metric, Request, Trial
from tapioca.search.base import SearchSpace
from tapioca.search.floor import FlooredSearch
from tapioca.search.race import DELTA, Race
from tapioca.search.stepwise import greedy
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches
from tapioca.tasks.choice import ACCURACY, Choice, Label
from tapioca.timing import compare_times, find_median_seconds, time_in_turn

LABELS = (10, 11, 12, 13)
CHOICE_TOKENS = 2, 8
"""Fewest and most tokens of a written-out choice."""
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


def make_task(
    examples: int, vocabulary: int, tokens: tuple[int, int], shared: int = 0, choices: int = 0, seed: int = 0
) -> Task:
    """Random prompts of so many tokens at least and at most, all behind the same opening, with random choices and right answers."""
    rng = np.random.default_rng(seed)

    def draw(count: int) -> list[int]:
        return [int(token) for token in rng.integers(20, vocabulary, count)]

    opening, task_examples = draw(shared), []
    for number in range(examples):
        prompt = opening + draw(int(rng.integers(tokens[0], tokens[1] + 1)))
        written = [draw(int(rng.integers(CHOICE_TOKENS[0], CHOICE_TOKENS[1] + 1))) for _ in range(choices)]
        rows = [Request.continuation(prompt, choice, len(choice)) for choice in written]
        rows = rows or [Request(inputs=tuple(prompt), targets=LABELS)]
        gold = int(rng.integers(choices or len(LABELS)))
        name = f"{seed}-{number:05d}"
        task_examples.append(
            Example(id=name, group=name, content=name, rows=tuple(rows), prompt=tuple(prompt), gold=gold)
        )
    kind = Choice if choices else Label
    return kind(name="random answers", examples=tuple(task_examples), metric=ACCURACY)


def learnt(model: LlamaForCausalLM, task: Task, share: float) -> Task:
    """The task as if the model had learnt it: its own answer is the right one for a share of the prompts."""
    known = np.random.default_rng(1).random(len(task.examples)) < share
    with torch.inference_mode():
        answers = [naive_answer(model, example) for example in task.examples]
    return task.select_examples(
        replace(example, gold=answer) if knows else example
        for example, answer, knows in zip(task.examples, answers, known, strict=True)
    )


def naive(model: LlamaForCausalLM, task: Task, rounds: int) -> list[tuple[Plan, float]]:
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


def naive_accuracy(model: LlamaForCausalLM, task: Task, plan: Plan) -> float:
    """Share of right answers, one prompt at a time, with the logits of all positions."""
    right = 0
    with torch.inference_mode(), apply(model, plan):
        for example in task.examples:
            right += naive_answer(model, example) == example.gold
    return right / len(task.examples)


def naive_answer(model: LlamaForCausalLM, example: Example) -> int:
    """The likeliest label after a prompt; or the likeliest of its choices for each of their tokens, read row by row."""
    values = []
    for row in example.rows:
        logits = model(torch.tensor([row.inputs]).to(model.device)).logits[0]
        if len(example.rows) == 1:
            return int(logits[-1, list(LABELS)].argmax())
        targets = torch.tensor(row.targets, device=logits.device)[:, None]
        token_values = logits[-len(targets) :].log_softmax(-1).gather(1, targets)
        values.append(float(token_values.sum()) / row.normalizer)
    return int(np.argmax(values))


def tapioca(model: LlamaForCausalLM, task: Task, rounds: int, batch: int, race: bool) -> list[tuple[Plan, float]]:
    """The same search by Tapioca; epsilon 1 lets every round's winner pass."""
    metric: Metric = task.metric
    space = SearchSpace.of_layers(model.config.num_hidden_layers, max_drops=rounds)
    search = FlooredSearch(greedy(), space, metric, epsilon=1.0)
    schedule = Schedule(state_cache=StateCache(4 * 2**30, len(make_batches(task, batch))))
    seed = 0 if race else None
    while plans := search.ask():
        stopping = Race(len(plans), len(task.examples), delta=DELTA if race else 0.0)
        scores = evaluate(model, task, plans, batch_size=batch, stopping=stopping, seed=seed, schedule=schedule)
        scored_counts = (~np.isnan(scores.values)).sum(1)
        search.tell([
            Trial(plan=plan, score=score, log_likelihood=0.0, n_scored=None if n_scored == len(task.examples) else int(n_scored))
            for plan, score, n_scored in zip(plans, np.nanmean(scores.values, 1).tolist(), scored_counts, strict=True)
        ])  # fmt: skip
    return [(trial.plan, trial.score) for trial in search.path]


@dataclass(frozen=True)
class Run:
    """What a search chose, and what it computed and held."""

    path: list[tuple[Plan, float]]
    layer_tokens: int
    mebibytes: float


def watch_search(model: LlamaForCausalLM, search: Search) -> Run:
    """Run a search, its layers and memory counted."""
    with counting(model) as done, peak() as held:
        path = search()
    return Run(path, done.layer_tokens, held.mebibytes)


def compare(model: LlamaForCausalLM, slow: Search, fast: Search, repeats: int, scale: float = 1.0) -> str:
    """A row of the table: both sides in turn; what the first took is for a share of the examples, 1 / `scale`."""
    sides = [partial(watch_search, model, search) for search in (slow, fast)]
    slow_runs, fast_runs = time_in_turn(sides, repeats)
    slow_run, fast_run = slow_runs[-1].result, fast_runs[-1].result
    ratio, is_scaled = scale * compare_times(slow_runs, fast_runs), scale != 1.0
    pairs = zip(slow_runs, fast_runs, strict=True)
    same = "-" if is_scaled else "yes" if all(naive.result.path == own.result.path for naive, own in pairs) else "NO"
    return (
        f"{scale * find_median_seconds(slow_runs):8.1f}{'*' if is_scaled else ' '}{find_median_seconds(fast_runs):10.2f}  {ratio!s:22}"
        f"{scale * slow_run.layer_tokens / 1e6:8.2f} {fast_run.layer_tokens / 1e6:8.3f}  {slow_run.mebibytes:7.0f} {fast_run.mebibytes:8.0f}"
        f"  {fast_run.path[-1][0]!s:14}  {same}"
    )


def describe_answers(choices: int) -> str:
    """What is scored."""
    return f"{choices} choices of {CHOICE_TOKENS[0]} to {CHOICE_TOKENS[1]} tokens" if choices else "one label token"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument(
        "--naive-examples", type=int, default=0, help="time the published procedure on the first so many, and scale it"
    )
    parser.add_argument("--tokens", type=int, nargs=2, default=(48, 80), metavar=("FROM", "TO"))
    parser.add_argument("--shared", type=int, default=0, help="tokens that stand before all prompts")
    parser.add_argument(
        "--choices", type=int, default=0, help="written-out choices of a prompt; 0 scores a label token"
    )
    parser.add_argument("--learnt", type=float, default=0.75, help="share of prompts that the full model gets right")
    parser.add_argument("--race", action="store_true", help="stop plans that can hardly win")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(machine(args.threads))
    print(
        f"width {args.width}, vocabulary {args.vocabulary}, {args.examples} prompts of {args.tokens[0]} to "
        f"{args.tokens[1]} tokens behind {args.shared} shared ones, {describe_answers(args.choices)}, {args.rounds} round(s), "
        f"batches of {args.batch}{', racing' if args.race else ''}"
    )
    n_naive = args.naive_examples or args.examples
    if n_naive < args.examples:
        print(f"* timed on the first {n_naive} examples, seconds scaled by their number; decisions not compared")
    print("        seconds of            ratio of              10^6 layer-tokens   MiB")
    print(
        "layers     naive    Tapioca  seconds [range]       naive  Tapioca    naive  Tapioca  dropped         same decisions"
    )
    task = make_task(args.examples, args.vocabulary, args.tokens, args.shared, args.choices)
    for layers in args.layers:
        model = make_model(layers, args.width, args.vocabulary).to(DEVICE)
        tapioca(model, task.select_examples(task.examples[: args.batch]), 1, args.batch, False)  # warm
        learnt_task = learnt(model, task, args.learnt)
        slow = partial(naive, model, learnt_task.select_examples(learnt_task.examples[:n_naive]), args.rounds)
        fast = partial(tapioca, model, learnt_task, args.rounds, args.batch, args.race)
        print(f"{layers:6} {compare(model, slow, fast, args.repeats, args.examples / n_naive)}", flush=True)


if __name__ == "__main__":
    main()
