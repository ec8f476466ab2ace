"""The whole job against the published one: `tapioca.prune`, and the search of TALE with its two models on the test rows.

The published job searches as `search_vs_naive.py` says, until the best drop falls below the floor, and then reads the test rows
of both data sets under the full model and under its plan, one prompt at a time. Tapioca's is all that `prune` does: checks, search,
judgement with random plans beside it, geometry and report. Both start from the same model and the same rows, and split alike.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import DEVICE, counting, machine
from search_vs_naive import describe_answers, learnt, make_model, make_task, naive_accuracy
from transformers import LlamaForCausalLM

import tapioca
from tapioca.plan import Plan
from tapioca.session.context import RunInputs
from tapioca.timing import time_call

EPSILON = 0.01
"""How far below the full model either search may go."""


def publish(model: LlamaForCausalLM, inputs: RunInputs) -> list[Plan]:
    """The published job: the plan of each round that was accepted, the last of them read on the test rows."""
    layers, task = model.config.num_hidden_layers, inputs.search["ood"]
    path, baseline = [Plan.full(layers)], naive_accuracy(model, task, Plan.full(layers))
    while len(path) < layers:
        plans = [Plan.drop(layers, [*path[-1].drops, layer]) for layer in path[-1].kept]
        scores = [naive_accuracy(model, task, plan) for plan in plans]
        if max(scores) < baseline - EPSILON:
            break
        path.append(plans[scores.index(max(scores))])
    for test_task in inputs.test.values():
        for plan in (path[0], path[-1]):
            naive_accuracy(model, test_task, plan)
    return path


def compare(model: LlamaForCausalLM, args: argparse.Namespace) -> str:
    """A row of the table."""
    sizes = args.examples, args.vocabulary, args.tokens
    tasks = [
        replace(learnt(model, make_task(*sizes, choices=args.choices, seed=seed), 0.75), name=name)
        for seed, name in enumerate(("drifted", "clean"))
    ]
    session = tapioca.Session(model, task=tasks[0], reference=tasks[1], batch_size=args.batch, progress=False)
    with TemporaryDirectory() as folder:
        with counting(model) as own:
            fast = time_call(partial(session.prune, out=Path(folder) / "run", epsilon=EPSILON))
        with counting(model) as published:
            slow = time_call(partial(publish, model, session.inputs))
    path = [Plan.full(args.layers), *(round_.winner.plan for round_ in fast.result.rounds if round_.accepted)]
    return (
        f"{args.layers:6}  {slow.seconds:9.1f}  {fast.seconds:7.1f}  {slow.seconds / fast.seconds:5.1f}  "
        f"{published.layer_tokens / 1e6:9.2f}  {own.layer_tokens / 1e6:7.2f}  {fast.result.plan!s:14}  {'yes' if path == slow.result else 'NO'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--examples", type=int, default=256, help="of either data set")
    parser.add_argument("--tokens", type=int, nargs=2, default=(48, 80), metavar=("FROM", "TO"))
    parser.add_argument("--choices", type=int, default=0, help="written-out choices; 0 scores a label token")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(machine(args.threads))
    print(
        f"width {args.width}, vocabulary {args.vocabulary}, twice {args.examples} prompts of {args.tokens[0]} to {args.tokens[1]} tokens, "
        f"{describe_answers(args.choices)}, batches of {args.batch}"
    )
    print("        seconds of                  10^6 layer-tokens")
    print("layers  published  Tapioca  ratio  published  Tapioca  dropped         same search")
    print(compare(make_model(args.layers, args.width, args.vocabulary).to(DEVICE), args))


if __name__ == "__main__":
    main()
