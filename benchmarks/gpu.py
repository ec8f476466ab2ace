"""What a GPU can tell, in one call of at most eight minutes: no network, nothing beside this repository.

Each section runs in a process of its own, in order of worth, with a limit of seconds; it is printed, and stands in the JSON file,
as soon as it is done. A section that fails or does not end says so, and the others run. Ratios are of two sides that ran one
after the other in one process. The models are random Llamas, of 0.5 billion parameters unless a section says otherwise.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --smoke    # tiny models, without a GPU too: whether every section runs
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import generation
import torch
from measure import DEVICE, counting, list_single_drops, machine, peak
from roofline import Swept, product_rate
from search_vs_naive import learnt, make_model, make_task, naive, tapioca, watch_search
from transformers import LlamaForCausalLM

from tapioca.commands.bench.config import BenchConfig
from tapioca.commands.bench.sides import GivenModels, open_sides
from tapioca.commands.bench.size import list_jobs, time_size
from tapioca.commands.export.run import export
from tapioca.engine.options import SweepInput
from tapioca.engine.sweep import Schedule, sweep
from tapioca.evaluate import evaluate
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, run_forward
from tapioca.models.load import LoadedModel
from tapioca.plan import Plan
from tapioca.progress import SILENT
from tapioca.timing import time_call

MINUTES = 8
Found = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """Of models and data.

    Attributes:
        layers, width, large_layers, large_width, vocabulary: of the models.
        examples, tokens, shared: prompts, fewest and most tokens, and tokens before all of them where they share any.
        naive_examples: on how many the published procedure is timed where all would take too long.
        answer: tokens of a written answer.
        matrix: rows of the matrix product.
    """

    layers: int
    width: int
    large_layers: int
    large_width: int
    vocabulary: int
    examples: int
    tokens: tuple[int, int]
    shared: int
    naive_examples: int
    answer: int
    matrix: int
    dtype: torch.dtype

    def model(self) -> LlamaForCausalLM:
        """The random Llama."""
        return make_model(self.layers, self.width, self.vocabulary).to(DEVICE, self.dtype)

    def task(self, choices: int = 0, examples: int = 0, shared: int = 0) -> Any:
        """Its prompts."""
        return make_task(examples or self.examples, self.vocabulary, self.tokens, shared, choices)


FULL = Sizes(24, 1280, 28, 2048, 32768, 64, (48, 80), 640, 8, 128, 8192, torch.bfloat16)
SMOKE = Sizes(3, 64, 2, 64, 256, 4, (4, 6), 8, 2, 4, 64, torch.float32)


def correctness(sizes: Sizes) -> Found:
    """In float32: streams against each plan alone, and decisions on the CPU against those on the device."""
    model = make_model(max(3, sizes.layers // 3), sizes.width // 4, sizes.vocabulary)
    task = sizes.task()
    on_cpu = tapioca(model, task, 2, 16, False)
    model = model.to(DEVICE)
    on_device = tapioca(model, task, 2, 16, False)
    batch = collate(model, [example.prompt for example in task.examples])
    plans = list_single_drops(model)
    differences = {}
    for way in ("single", "stacked"):
        outputs = dict(sweep(model, plans, SweepInput(batch, 1), Schedule(way=way)))
        differences[way] = max(largest_difference(model, plan, outputs[plan], batch) for plan in plans)
    return {
        "largest difference of single streams": differences["single"],
        "largest difference of stacked streams": differences["stacked"],
        "decisions on the CPU and the device": "the same" if on_cpu == on_device else "NOT the same",
    }


def largest_difference(
    model: LlamaForCausalLM, plan: Plan, outputs: torch.Tensor, batch: dict[str, torch.Tensor]
) -> float:
    """Of outputs in a sweep from those of the plain model under the plan."""
    with apply(model, plan):
        return float((run_forward(model, batch, 1) - outputs).abs().max())


def search(sizes: Sizes, choices: int = 0, race: bool = False, large: bool = False) -> Found:
    """One greedy round against the published procedure; with `race` behind a shared opening, the published procedure timed on
    a few examples and scaled."""
    if large:
        model = make_model(sizes.large_layers, sizes.large_width, sizes.vocabulary).to(DEVICE, sizes.dtype)
    else:
        model = sizes.model()
    task = learnt(model, sizes.task(choices, 4 * sizes.examples if race else 0, sizes.shared if race else 0), 0.75)
    fast = partial(tapioca, model, task, 1, 32, race)
    fast()  # warm
    few = task.select_examples(task.examples[: sizes.naive_examples]) if race or large else task
    scale = len(task.examples) / len(few.examples)
    naive(model, few.select_examples(few.examples[:1]), 1)  # warm
    slow_timed = time_call(partial(watch_search, model, partial(naive, model, few, 1)))
    fast_timed = time_call(partial(watch_search, model, fast))
    slow_run, fast_run = slow_timed.result, fast_timed.result
    found = {
        "published, s": slow_timed.seconds * scale,
        "Tapioca, s": fast_timed.seconds,
        "ratio": slow_timed.seconds * scale / fast_timed.seconds,
        "layer-tokens": slow_run.layer_tokens * scale / fast_run.layer_tokens,
        "Tapioca, MiB": fast_run.mebibytes,
        "parameters": model.num_parameters(),
    }
    if scale == 1:
        return found | {
            "decisions": "the same" if slow_run.path == fast_run.path else f"{slow_run.path} and {fast_run.path}"
        }
    return found | {"published timed on": f"{len(few.examples)} of {len(task.examples)} examples"}


def stacking(sizes: Sizes) -> Found:
    """Streams one after the other against several at once, and the rate of either against a large matrix product."""
    model = sizes.model()
    batch = collate(model, [example.prompt for example in sizes.task().examples])
    found: Found = {"matrix product, TFLOP/s": product_rate(sizes.matrix, sizes.dtype) / 1e12}
    for way in ("single", "stacked"):
        swept = Swept(model, batch, Schedule(way=way))
        swept.run()  # warm
        found[f"{way}, TFLOP/s"] = swept.flops / min(swept.run() for _ in range(3)) / 1e12
    return found


def writing(sizes: Sizes) -> Found:
    """Written answers: candidates that agree with nothing, and candidates that agree with three quarters of the tokens."""
    found: Found = {}
    for name, strength in (("no agreement", 1.0), ("agreement", 0.0003)):
        model = generation.weaken(make_model(8, sizes.width // 2, sizes.vocabulary), strength).to(DEVICE, sizes.dtype)
        model.generation_config.eos_token_id = None
        task = generation.make_task(
            generation.random_prompts(sizes.examples, sizes.vocabulary, *sizes.tokens), sizes.answer
        )
        few = task.select_examples(task.examples[: sizes.naive_examples])
        plans = list_single_drops(model)
        fast = time_call(partial(generation.tapioca, model, task, 1, 64))
        naive_seconds = time_call(partial(generation.naive, model, few, plans[:2])).seconds
        slow = naive_seconds * len(plans) / 2 * len(task.examples) / len(few.examples)
        found |= {
            f"{name}: ratio": slow / fast.seconds,
            f"{name}: accepted": fast.result.accepted_share,
            f"{name}: Tapioca, s": fast.seconds,
        }
    return found


def memory(sizes: Sizes) -> Found:
    """A device that runs out: the same scores with a tenth of the memory."""
    model, task = sizes.model(), sizes.task(examples=16)
    plans = list_single_drops(model)
    with peak() as held:
        expected = evaluate(model, task, plans, batch_size=16, schedule=Schedule(way="stacked")).values
    if DEVICE == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        allowed = torch.cuda.memory_allocated() + held.mebibytes * 2**20 / 3
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(allowed / total)
    with peak() as less, counting(model) as done:
        scores = evaluate(model, task, plans, batch_size=16, schedule=Schedule(way="stacked")).values
    same = float((scores == expected).mean())
    return {
        "MiB": held.mebibytes,
        "MiB allowed": less.mebibytes,
        "same scores": same,
        "layer-tokens": done.layer_tokens,
    }


def exporting(sizes: Sizes) -> Found:
    """A checkpoint without two layers, reloaded by plain transformers and compared."""
    model = sizes.model()
    with tempfile.TemporaryDirectory() as folder:
        exported = time_call(partial(export, model, Path(folder) / "exported", Plan.drop(sizes.layers, [1])))
        return {"s": exported.seconds, "largest difference": exported.result.difference}


def shorter(sizes: Sizes) -> Found:
    """What `tapioca bench` says of a plan that drops a quarter of the layers, and of its checkpoint: time ratios and memory."""
    plan = Plan.drop(sizes.layers, range(1, sizes.layers, 4)).to_json()
    grid = f"1,8x{sizes.tokens[1]}"
    config = BenchConfig(model="random", plan=plan, grid=grid, new_tokens=sizes.answer, max_rounds=40)
    found: Found = {}
    with open_sides(config, SILENT, GivenModels(LoadedModel(sizes.model(), None))) as opened:
        found |= {f"{side.name}, layers alone": side.about.by_layers for side in opened.sides[1:]}
        for job in list_jobs(config, opened.sides):
            timing = time_size(job, opened.sides, config, SILENT)
            for measured in timing.measures:
                for name, ratio in measured.ratios.items():
                    found[f"{job}, {measured.measure}, {name}"] = ratio.value
                    found[f"{job}, {measured.measure}, {name}, interval"] = ratio.ci95
            found |= {f"{job}, {name}, MiB beside weights": held / 2**20 for name, held in timing.held_bytes.items()}
    return found


@dataclass(frozen=True)
class Section:
    """What is measured, and how many seconds it may take."""

    run: Callable[[Sizes], Found]
    seconds: int


SECTIONS = {
    "correctness": Section(correctness, 60),
    "exact search, one label token": Section(search, 90),
    "race behind a shared opening": Section(partial(search, race=True), 90),
    "exact search, four choices": Section(partial(search, choices=4), 120),
    "race, four choices": Section(partial(search, choices=4, race=True), 120),
    "streams": Section(stacking, 60),
    "written answers": Section(writing, 90),
    "out of memory": Section(memory, 45),
    "export": Section(exporting, 60),
    "a shorter model": Section(shorter, 90),
    "exact search, 1.5 billion parameters": Section(partial(search, large=True), 90),
}


def run_section(name: str, smoke: bool, seconds: float) -> Found:
    """One section in a process of its own."""
    command = [sys.executable, __file__, "--section", name, *(["--smoke"] if smoke else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in {seconds:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip() or "without a word").splitlines()[-1]}
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def describe(name: str, found: Found) -> str:
    """A section on a line of its own and one for each number."""
    rows = [
        f"  {what:40} {value:,.3g}" if isinstance(value, float) else f"  {what:40} {value}"
        for what, value in found.items()
    ]
    return "\n".join([name, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file of all that was measured")
    parser.add_argument("--smoke", action="store_true", help="tiny models: whether every section runs")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no section goes on")
    parser.add_argument("--section", choices=SECTIONS, help="this one alone, in this process")
    args = parser.parse_args()
    sizes, threads = (SMOKE, 1) if args.smoke else (FULL, 8)
    if args.section:
        torch.set_num_threads(threads)
        print(json.dumps(SECTIONS[args.section].run(sizes)))
        return
    end, results = time.monotonic() + 60 * args.minutes, {"machine": machine(threads), "sections": {}}
    print(results["machine"], flush=True)
    for name, section in SECTIONS.items():
        left = end - time.monotonic()
        found = (
            run_section(name, args.smoke, min(section.seconds, left)) if left > 0 else {"failed": "no time was left"}
        )
        results["sections"][name] = found
        print(describe(name, found), flush=True)
        if args.out:
            args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
