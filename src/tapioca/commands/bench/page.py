"""A timing on one screen and on one self-contained page."""

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tapioca.commands.bench import words
from tapioca.commands.bench.charts import draw_charts
from tapioca.commands.bench.result import BenchResult, BenchSide, Measure, MeasureTiming, SizeTiming
from tapioca.disk import write_text
from tapioca.report.format import format_quantity
from tapioca.report.tables import TableBlock, make_table, print_block, print_line
from tapioca.report.template import render_template

__all__ = ["draw_charts", "show", "write_page"]


def write_page(info: BenchResult) -> Path:
    """Write `report.html` into the folder of a timing and return its path."""
    path = info.folder / "report.html"
    names = {"page": sys.modules[__name__], "say": words, "info": info}
    write_text(path, render_template("tapioca.commands.bench", draw_charts(info), **names))
    return path


def show(info: BenchResult, console: Console) -> None:
    """Print every time, what layers alone predict, and whether live plan and checkpoint agree."""
    print_line(console, f"· {words.describe_machine(info)}", style="dim")
    for note in info.notes:
        print_line(console, f"· {note}", style="dim")
    print_block(console, tabulate_sides(info))
    console.print()
    for size in info.sizes:
        print_block(console, tabulate_size(info, size))
    for line in explain_timing(info):
        print_line(console, f"· {line}.", style="dim")
    print_line(console, f"report    {info.folder / 'report.html'}")


def name_compared(info: BenchResult) -> str:
    """What is compared with what: 'learner under drop 2', 'a and b'."""
    first, second, *_ = info.sides
    return f"{first.label} {'under' if second.name == 'plan' else 'and'} {second.label}"


def explain_timing(info: BenchResult) -> list[str]:
    """What the times come to, a sentence each."""
    return [*words.explain_layers(info), *words.explain_agreement(info), words.explain_precision(info)]


def tabulate_sides(info: BenchResult) -> TableBlock:
    """What was timed, and how large it is."""
    columns: dict[str, Callable[[BenchSide], str]] = {
        "model": lambda side: side.label if side.name != "plan" else f"{side.label}, live",
        "layers": lambda side: str(side.n_layers),
        "parameters": lambda side: format_quantity(side.parameters),
        "on disk": lambda side: words.format_bytes(side.disk_bytes),
        "weights held": lambda side: words.format_bytes(side.weight_bytes),
        "peak memory": lambda side: words.count_peak(info, side),
    }
    return make_table("", info.sides, columns)


def tabulate_size(info: BenchResult, size: SizeTiming) -> TableBlock:
    """What the first side and the one beside it took at one size, and the time ratios of all to the first."""
    full, beside, *more = info.sides
    head = ("", full.label, beside.label, "time × [95 %]", *(f"{side.label} × [95 %]" for side in more))
    rows = [row for timing in size.measures for row in _tabulate_measure(info, size, timing)]
    if any(side.by_layers not in (None, 1.0) for side in info.sides):
        predicted = ("" if side.by_layers is None else f"{side.by_layers:.3f}" for side in (beside, *more))
        rows.append(("layers alone", "", "", *predicted))
    return TableBlock(words.describe_size(size), head, tuple(rows))


def _tabulate_measure(info: BenchResult, size: SizeTiming, timing: MeasureTiming) -> list[tuple[str, ...]]:
    """The rows of one measure: the time or the rate with the time ratios, and what follows from it in other units."""
    medians = [timing.find_median(side.name) for side in info.sides[:2]]
    ratios = [words.format_ratio(timing.ratios[side.name]) for side in info.sides[1:]]
    rows = []
    for name, write in list_units(size, timing).items():
        rows.append((name, *map(write, medians), *ratios))
        ratios = [""] * len(ratios)
    if size.protocol:
        means = (timing.find_mean(side.name) for side in info.sides[:2])
        rows[1:] = [("throughput, tok/s", *(words.format_rate(size.new_tokens / mean) for mean in means), *ratios)]
    return rows


def list_units(size: SizeTiming, timing: MeasureTiming) -> dict[str, Callable[[float], str]]:
    """How the seconds of a measure are written: as a time, or as what is done in a second."""

    def rate(amount: int) -> Callable[[float], str]:
        return lambda seconds: words.format_rate(amount / seconds)

    n_read, n_written = size.batch * size.length, size.batch * size.new_tokens
    units: dict[Measure, dict[str, Callable[[float], str]]] = {
        "first_token": {"first token": words.format_seconds, "prefill, tok/s": rate(n_read)},
        "decode": {"decode, tok/s": rate(n_written - size.batch)},
        "whole": {"throughput, tok/s": rate(n_written)},
        "forward": {"forward": words.format_seconds, "prompts/s": rate(size.batch), "tokens/s": rate(n_read)},
    }
    return units[timing.measure]


def tabulate_agreement(info: BenchResult) -> TableBlock:
    """The checkpoint beside the live plan."""
    rows = [
        (
            words.name_measure(size, timing),
            words.format_seconds(timing.find_median("plan")),
            words.format_seconds(timing.find_median("checkpoint")),
            words.format_ratio(timing.against_live),
        )
        for size in info.sizes
        for timing in size.measures
        if timing.against_live
    ]
    head = ("prompts × tokens", "live plan", "checkpoint", "time × [95 % interval]")
    return TableBlock("", head, tuple(rows))
