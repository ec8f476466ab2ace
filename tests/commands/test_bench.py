"""Times of models in turn, by a clock that goes on with every layer and so gives known numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.modules.module import register_module_forward_pre_hook

import tapioca
from tapioca.cli.main import main
from tapioca.commands import read_result
from tapioca.commands.bench import calls, measure, page, words
from tapioca.commands.bench import run as bench_run
from tapioca.commands.bench.config import BenchConfig, Size
from tapioca.commands.bench.memory import measure_held_bytes
from tapioca.commands.bench.preview import preview_bench
from tapioca.commands.bench.result import BenchResult, SideName, SizeTiming
from tapioca.errors import StoreError, TapiocaError
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

LAYER = 1e-3
"""Seconds of a layer by the clock of these tests; all else takes none."""
DROP = Plan.drop(4, [1])


class Clock:
    """Goes on by a thousandth of a second wherever a layer is computed."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def come(self, module: torch.nn.Module, _: Any) -> None:
        self.now += LAYER * (type(module).__name__ in ("LlamaDecoderLayer", "BertLayer"))


@pytest.fixture(autouse=True)
def _quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "RUN_SECONDS", 1e-9)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    clock = Clock()
    hook = register_module_forward_pre_hook(clock.come)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "read_clock", clock.read)
        yield clock
    hook.remove()


@pytest.fixture(scope="module")
def info(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    """A small Llama beside itself under a plan and beside a checkpoint of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "RUN_SECONDS", 1e-9)
        out = tmp_path_factory.mktemp("bench") / "out"
        options: dict[str, Any] = {"grid": "1,2x4", "new_tokens": 3, "max_rounds": 10, "protocol": "tale"}
        return tapioca.bench(tiny("llama"), plan=DROP, out=out, progress=False, **options)


def test_times_are_those_of_the_layers(info: BenchResult) -> None:
    assert [(size.protocol, size.batch, size.length, size.new_tokens, size.rounds) for size in info.sizes] == [
        (None, 1, 4, 3, 10),
        (None, 2, 4, 3, 10),
        ("tale", 1, 4, 1, 10),
    ]
    for size in info.sizes:
        for timing in size.measures:
            forwards = {"first_token": 1, "decode": 2, "whole": 3}[timing.measure]
            assert timing.find_median("full") == pytest.approx(4 * LAYER * forwards)
            assert timing.find_median("checkpoint") == pytest.approx(3 * LAYER * forwards)
            assert timing.ratios["plan"].value == pytest.approx(0.75)
            assert timing.ratios["plan"].ci95 == pytest.approx((0.75, 0.75))
            assert timing.against_live
            assert timing.against_live.value == pytest.approx(1)
    assert [side.by_layers for side in info.sides] == [None, 0.75, 0.75]
    assert info.difference == 0


def test_sizes_and_memory(info: BenchResult) -> None:
    model = tiny("llama")
    layer = sum(parameter.numel() for parameter in model.model.layers[1].parameters())
    full, plan, checkpoint = info.sides
    assert (full.parameters, plan.parameters) == (model.num_parameters(), model.num_parameters() - layer)
    assert checkpoint.parameters == plan.parameters
    assert full.weight_bytes == plan.weight_bytes == checkpoint.weight_bytes + 4 * layer
    assert full.disk_bytes is None
    assert checkpoint.disk_bytes
    assert checkpoint.disk_bytes > checkpoint.weight_bytes - 4096
    held = info.sizes[1].held_bytes
    keys_and_values = 2 * 2 * 4 * 2 * 8 * 4  # of a layer where the prompts are read: batch, tokens, heads, width, bytes
    assert held["full"] - held["plan"] == keys_and_values
    assert held["plan"] == held["checkpoint"]
    assert info.find_peak(full) == full.weight_bytes + held["full"]


def printed(info: BenchResult, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    page.show(info, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_screen_says_what_was_found(info: BenchResult) -> None:
    lines = [" ".join(line.split()) for line in printed(info).splitlines()]
    assert "1 prompt of 4 tokens, 3 written; 10 rounds, ± 0.0 %" in lines
    assert "2 prompts of 4 tokens, 3 written behind each; 10 rounds, ± 0.0 %" in lines
    assert "TALE's protocol: 1 prompt of 4 tokens, 1 written without KV cache; 10 rounds, ± 0.0 %" in lines
    assert "first token 4.00 ms 3.00 ms 0.750 [0.750, 0.750] 0.750 [0.750, 0.750]" in lines
    assert "prefill, tok/s 1 k 1.33 k" in lines
    assert "decode, tok/s 250 333 0.750 [0.750, 0.750] 0.750 [0.750, 0.750]" in lines
    assert "throughput, tok/s 500 667 0.750 [0.750, 0.750] 0.750 [0.750, 0.750]" in lines
    assert "layers alone 0.750 0.750" in lines
    found = " ".join(lines)
    assert "if all time were spent in layers, time × 0.750; measured × 0.750 to × 0.750." in found
    assert "live plan and checkpoint agree: the checkpoint takes × 1.000 to × 1.000 of the live plan's time" in found
    assert "the widest interval is ± 0.0 %, asked for were ± 3.0 %; other processes took " in found
    assert info.machine.name in found


def test_the_record_and_the_page_come_back(info: BenchResult) -> None:
    again, module = read_result(info.folder)
    assert again == info
    text = module.write_page(again).read_text()
    assert text.count("<svg") == 2
    assert "1 prompt of 4 tokens, 3 written; 10 rounds" in text
    assert info.command in text.replace("&#34;", '"').replace("&#39;", "'")


def count_timings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    timed: list[str] = []
    time_size = bench_run.time_size

    def count(job: Any, *arguments: Any) -> SizeTiming:
        timed.append(str(job))
        return time_size(job, *arguments)

    monkeypatch.setattr(bench_run, "time_size", count)
    return timed


def test_what_is_timed_is_not_timed_again(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = count_timings(monkeypatch)
    model, out = tiny("bert"), tmp_path / "out"
    first = tapioca.bench(model, model, grid="2x8", max_rounds=10, out=out, progress=False)
    assert timed == ["2 × 8 tokens"]
    kept = (out / "timings" / "2x8.json").read_bytes()
    both = tapioca.bench(model, model, grid="1,2x8", max_rounds=10, out=out, progress=False)
    assert timed == ["2 × 8 tokens", "1 × 8 tokens"]
    assert both.sizes[1] == first.sizes[0]
    assert (out / "timings" / "2x8.json").read_bytes() == kept
    with pytest.raises(StoreError, match=r"belongs to another run \(differs in: settings\); choose another folder"):
        tapioca.bench(model, model, grid="2x8", max_rounds=11, out=out, progress=False)
    (out / "timings" / "2x8.json").write_text(kept.decode().replace('"rounds": 10', '"rounds": 11'))
    with pytest.raises(StoreError, match=r"2x8\.json is damaged: .* delete .*2x8\.json and run the same command again"):
        tapioca.bench(model, model, grid="2x8", max_rounds=10, out=out, progress=False)


def test_models_that_do_not_write_are_timed_on_forwards(clock: Clock, tmp_path: Path) -> None:
    found = tapioca.bench("learner", "learner", grid="2x8", max_rounds=10, out=tmp_path / "out", progress=False)
    [timing] = found.sizes[0].measures
    assert (timing.measure, found.writes, found.sides[1].label) == ("forward", False, "learner (second)")
    assert timing.find_median("full") == pytest.approx(8 * LAYER)
    assert timing.ratios["other"].value == 1
    text = " ".join(printed(found).split())
    assert "2 prompts of 8 tokens; 10 rounds" in text
    assert "prompts/s 250 250" in text
    assert "layers alone" not in text


def test_a_dry_run_leaves_nothing(
    clock: Clock,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words_said = ["bench", str(model_folder), str(model_folder), "--grid", "2x4", "--new-tokens", "2", "--dry-run"]
    assert main([*words_said, "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "size      2 × 4 tokens: about " in out
    assert ": 10 to 200 rounds of each size, until intervals are ±\u00a03.0\u00a0%\n" in out
    assert out.endswith("nothing of this is kept; without --dry-run the timing begins\n")
    assert list(tmp_path.iterdir()) == []


FULL = '{"n_layers":8}'
ONE = '{"n_layers":8,"layers":{"1":0.0}}'
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({}, r"^learner alone is compared with nothing; give --plan, or a second model behind the first$"),
    ({"plan": FULL}, r"changes nothing, so there is nothing to time; give a plan that drops something$"),
    ({"plan": ONE, "other": "learner"}, r"^learner has 8 layers, a checkpoint of the plan has 7; give the checkpoint of this plan"),
    ({"other": "learner", "grid": "1x4000"}, r"^--grid: prompts of 4000 tokens are longer than the 128 tokens that .* reads; give shorter ones, for instance --grid 1,8x64$"),
    ({"other": "learner", "protocol": "tale"}, r"^--protocol tale times written tokens, and learner does not write; leave it out$"),
    ({"other": "learner", "grid": "8"}, r"^--grid: String should match pattern .*, got '8'$"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TapiocaError, match=message):
        preview_bench(BenchConfig(model="learner", **options))


def test_a_plan_that_no_checkpoint_holds_is_timed_live(clock: Clock, tmp_path: Path) -> None:
    plan = Plan(n_layers=4, norms={1: 3.0})
    found = tapioca.bench(
        tiny("llama"), plan=plan, grid="1x4", new_tokens=2, max_rounds=10, out=tmp_path / "out", progress=False
    )
    assert [side.name for side in found.sides] == ["full", "plan"]
    [note] = found.notes
    assert note.startswith("no checkpoint is timed beside the live plan: ")


def noisy_runs(spread: float, seed: int, disturbed: float = 0.1) -> dict[SideName, Callable[[], calls.Times]]:
    """Two sides of the same mean, of whose times a share is doubled."""
    rng = np.random.default_rng(seed)

    def run() -> calls.Times:
        return {"forward": float(np.exp(rng.normal(0, spread)) * (1 + (rng.random() < disturbed)))}

    return {"full": run, "other": run}


def test_rounds_go_on_until_intervals_are_narrow() -> None:
    [quiet] = measure.time_rounds(noisy_runs(0.01, 1, disturbed=0), 0.03, 300)
    [busy] = measure.time_rounds(noisy_runs(0.05, 1), 0.03, 300)
    [hopeless] = measure.time_rounds(noisy_runs(0.5, 1), 0.03, 300)
    assert len(quiet.seconds["full"]) == 10
    assert 10 < len(busy.seconds["full"]) < 300
    assert len(hopeless.seconds["full"]) == 300
    assert max(quiet.half_width, busy.half_width) <= 0.03 < hopeless.half_width


def test_the_interval_holds_1_where_two_sides_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In nine of ten timings at least, though rounds stop when it is narrow."""
    monkeypatch.setattr(measure, "_without_garbage", nullcontext)
    found = [measure.time_rounds(noisy_runs(0.05, seed), 0.03, 100)[0].ratios["other"].ci95 for seed in range(100)]
    assert sum(low <= 1 <= high for low, high in found) >= 90


def test_sides_take_turns_and_turn_over() -> None:
    order: list[str] = []

    def note(name: str) -> Callable[[], calls.Times]:
        return lambda: order.append(name) or {"forward": 1.0}

    measure.time_rounds({"full": note("full"), "plan": note("plan"), "checkpoint": note("checkpoint")}, 0.5, 10)
    assert order[:6] == ["full", "plan", "checkpoint", "checkpoint", "plan", "full"]
    assert len(order) == 30


def test_looks_are_few() -> None:
    assert measure.list_looks(50) == [10, 15, 23, 35, 50]
    assert measure.list_looks(10) == [10]


def change_ratio(info: BenchResult, value: float, half_width: float) -> BenchResult:
    """The same with another ratio of checkpoint to live plan at the first measure of the last size."""
    content = info.model_dump(mode="json")
    content["sizes"][-1]["measures"][0]["against_live"] = {
        "value": value,
        "ci95": [value - half_width, value + half_width],
    }
    return BenchResult(**content)


def test_whether_live_plan_and_checkpoint_agree(info: BenchResult) -> None:
    for value, half_width in ((1.05, 0.06), (0.98, 0.005)):  # holds 1, or is of no account
        assert words.explain_agreement(change_ratio(info, value, half_width))[0].startswith(
            "live plan and checkpoint agree"
        )
    assert words.explain_agreement(change_ratio(info, 0.9, 0.01)) == [
        "live plan and checkpoint differ in 1 of 7 times, most at TALE, 1 × 4: first token, where the checkpoint takes "
        "× 0.900 [0.890, 0.910] of the live plan's; at every forward the live model also runs a hook that keeps other "
        "threads off the model, which weighs most where a forward is short; largest difference of an output 0"
    ]


def test_numbers_as_people_read_them() -> None:
    assert [words.format_seconds(seconds) for seconds in (8.4e-6, 0.00213, 0.0213, 0.213, 1.25)] == [
        "8.40 µs",
        "2.13 ms",
        "21.3 ms",
        "213 ms",
        "1.25 s",
    ]
    assert [words.format_rate(rate) for rate in (0.5, 43.14, 1210)] == ["0.5", "43.1", "1.21 k"]
    assert [words.format_bytes(size) for size in (None, 1_100_000)] == ["–", "1.1 MB"]


def test_memory_is_that_of_tensors_at_once() -> None:
    known = torch.zeros(1000)

    def call() -> None:
        first = known + 1  # 4000 bytes
        second = first * 2  # 4000 bytes more
        del first
        _ = second.view(10, 100) + second.view(10, 100)  # a third, while the first is gone

    assert measure_held_bytes(tiny("llama"), [known], call) == 8000


def test_prompts_hold_no_special_tokens() -> None:
    model = tiny("llama")
    ids = calls.make_prompts(model, Size(8, 200))["input_ids"]
    assert ids.shape == (8, 200)
    assert set(ids.flatten().tolist()).isdisjoint({0, 1, 2})
    with pytest.raises(
        TapiocaError, match="prompts of 250 tokens and 10 written behind them are longer than the 256 tokens"
    ):
        calls.check_size(model, Size(1, 250), 10)
