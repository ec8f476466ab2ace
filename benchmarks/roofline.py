"""How near a sweep comes to the rate of one large matrix product, its floating-point operations over its seconds.

The operations are those it has to do: layers of the plans' tree, times what torch counts for a layer, and one head for
each plan. Both run alternately in one process, in the same dtype. The model is wide, so that arithmetic is the bound.
With --profile, torch's profiler says what one sweep spends its time on; what it spends outside of operations (Python,
launches, waiting) is the rest of its wall-clock time.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from measure import DEVICE, list_single_drops, machine
from search_vs_naive import make_model, make_task
from torch.profiler import profile
from transformers import PreTrainedModel

from tapioca.engine.options import SweepInput
from tapioca.engine.sweep import Schedule, sweep
from tapioca.models.cost import count_layer_flops
from tapioca.models.inputs import collate
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.timing import read_clock

PRODUCTS_TIMED = 50 if DEVICE == "cuda" else 1
KINDS = {
    "matrix products": "mm addmm bmm baddbmm linear _addmm_activation mkldnn_linear",
    "elementwise": "add sub mul div neg pow rsqrt mean silu gelu sigmoid tanh cos sin exp",
    "copies": "cat copy clone repeat index_select embedding fill zero",
}
"""Operations by what they are; attention is known by its name, and those not named here are shown as others."""


def product_rate(size: int, dtype: torch.dtype) -> float:
    """Operations a second of a matrix product."""
    left_matrix, right_matrix = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
    torch.mm(left_matrix, right_matrix)
    start = read_clock()
    for _ in range(PRODUCTS_TIMED):
        torch.mm(left_matrix, right_matrix)
    return 2.0 * size**3 * PRODUCTS_TIMED / (read_clock() - start)


class Swept:
    """A sweep of the full model and all its single drops over one batch."""

    def __init__(self, model: PreTrainedModel, batch: dict[str, torch.Tensor], schedule: Schedule):
        self.model, self.batch, self.schedule = model, batch, schedule
        self.plans = list_single_drops(model)
        layer, rest = count_layer_flops(model, batch)
        self.flops = count_layers_computed(tuple(self.plans)) * layer + len(self.plans) * rest

    def run(self) -> float:
        """Seconds of one sweep."""
        start = read_clock()
        for _ in sweep(self.model, self.plans, SweepInput(self.batch, 1), self.schedule):
            pass
        return read_clock() - start


def shares(swept: Swept) -> dict[str, float]:
    """What one sweep spends its time on, as shares of its wall-clock time under the profiler."""
    swept.run()
    with profile() as watched:
        wall = swept.run()
    kinds = {name: kind for kind, names in KINDS.items() for name in names.split()}
    spent = dict.fromkeys(["matrix products", "elementwise", "attention", "copies", "other operations"], 0.0)
    for event in watched.key_averages():
        if not event.key.startswith("aten::"):
            continue  # on a GPU, kernels are listed again under the operations that launched them
        name = event.key.removeprefix("aten::").rstrip("_")
        kind = "attention" if "attention" in name else kinds.get(name, "other operations")
        micros = event.self_device_time_total if DEVICE == "cuda" else event.self_cpu_time_total
        spent[kind] += micros / 1e6 / wall
    return {**spent, "outside of operations": 1 - sum(spent.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--matrix", type=int, default=4096 if DEVICE == "cuda" else 2048)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"] if DEVICE == "cuda" else ["float32"])
    parser.add_argument("--plan-batching", choices=["auto", "single", "stacked"], default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="say what the time of a sweep goes to")
    args = parser.parse_args()
    print(machine(args.threads))
    print(
        f"{args.layers} layers of width {args.width}, {args.batch} prompts of {args.tokens} tokens, streams "
        f"{args.plan_batching}; matrices of {args.matrix} x {args.matrix}"
    )
    print("dtype      product GFLOP/s  sweep GFLOP/s  ratio [range]")
    task = make_task(args.batch, args.vocabulary, (args.tokens, args.tokens))
    for name in args.dtypes:
        dtype = getattr(torch, name)
        model = make_model(args.layers, args.width, args.vocabulary).to(DEVICE, dtype)
        batch = collate(model, [example.prompt for example in task.examples])
        swept = Swept(model, batch, Schedule(way=args.plan_batching))
        swept.run()  # warm
        pairs = [(product_rate(args.matrix, dtype), swept.flops / swept.run()) for _ in range(args.repeats)]
        products, sweeps = zip(*pairs, strict=True)
        ratios = [sweep / product for product, sweep in pairs]
        print(
            f"{name:9}  {median(products) / 1e9:15,.1f}  {median(sweeps) / 1e9:13,.1f}  "
            f"{median(ratios):5.0%} [{min(ratios):.0%}, {max(ratios):.0%}]"
        )
        if args.profile:
            print("           " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares(swept).items()))


if __name__ == "__main__":
    main()
