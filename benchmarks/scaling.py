"""What a greedy round costs with deeper models, more examples and longer prompts, and the exponent of each.

A round is the search of `search_vs_naive.py`: the full model, then every plan that drops one layer, with everything
Tapioca does by default. One size varies at a time; the others stay at the middle of their lists. Layer-tokens are
counted inside the model. Exponents are slopes of log cost over log size, by least squares over the medians, with 95 %
intervals; where the intervals are wide, the cost is no power of the size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
from measure import DEVICE, machine
from scipy import stats
from search_vs_naive import make_model, make_task, tapioca, watch_search

from tapioca.timing import time_call


@dataclass(frozen=True)
class Sizes:
    """What a round is made of."""

    layers: int
    examples: int
    tokens: int


def cost(sizes: Sizes, width: int, vocabulary: int, batch: int) -> tuple[float, int]:
    """Seconds and layer-tokens of one round."""
    model = make_model(sizes.layers, width, vocabulary).to(DEVICE)
    task = make_task(sizes.examples, vocabulary, (sizes.tokens, sizes.tokens))
    run = time_call(partial(watch_search, model, partial(tapioca, model, task, 1, batch, race=False)))
    return run.seconds, run.result.layer_tokens


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> tuple[float, float]:
    """The slope of log cost over log size, and half of its 95 % interval (Student's t)."""
    fit = stats.linregress(np.log(sizes), np.log(costs))
    return float(fit.slope), float(fit.stderr * stats.t.ppf(0.975, len(sizes) - 2))


def varied(ranges: dict[str, list[int]]) -> dict[str, list[Sizes]]:
    """For each size, the rounds in which it alone varies."""
    middle = Sizes(**{name: values[len(values) // 2] for name, values in ranges.items()})
    return {name: [replace(middle, **{name: size}) for size in values] for name, values in ranges.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 6, 8, 12, 16])
    parser.add_argument("--examples", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    ranges = {"layers": args.layers, "examples": args.examples, "tokens": args.tokens}
    for name, values in ranges.items():
        if len(set(values)) < 3:
            parser.error(f"--{name} needs three sizes or more for an exponent and its interval, got {len(set(values))}")
    print(machine(args.threads))
    rounds = varied(ranges)
    settings = args.width, args.vocabulary, args.batch
    all_sizes = dict.fromkeys(sizes for row in rounds.values() for sizes in row)
    cost(next(iter(all_sizes)), *settings)  # warm
    runs = [{sizes: cost(sizes, *settings) for sizes in all_sizes} for _ in range(args.repeats)]
    print(f"width {args.width}, vocabulary {args.vocabulary}, batches of {args.batch}, {args.repeats} repeat(s)")
    print("layers  examples  tokens  seconds [range]         layer-tokens")
    for name, row in rounds.items():
        median_seconds, layer_tokens = [], []
        for sizes in row:
            seconds = [run[sizes][0] for run in runs]
            median_seconds.append(median(seconds))
            layer_tokens.append(runs[0][sizes][1])
            print(
                f"{sizes.layers:6}  {sizes.examples:8}  {sizes.tokens:6}  "
                f"{median_seconds[-1]:7.3f} [{min(seconds):.3f}, {max(seconds):.3f}]  {layer_tokens[-1]:12,}"
            )
        for what, costs in (("seconds", median_seconds), ("layer-tokens", layer_tokens)):
            slope, half = exponent(ranges[name], costs)
            print(f"{what} grow with {name} to the power of {slope:.2f} [{slope - half:.2f}, {slope + half:.2f}]")


if __name__ == "__main__":
    main()
