"""One self-contained HTML page for a run: no network, no scripts, charts as inline SVG."""

from collections.abc import Callable
from pathlib import Path

import altair as alt
from rich.console import Console
from rich.panel import Panel

from tapioca.commands.prune import words as run_words
from tapioca.commands.prune.changed import TEXTS, tabulate_changed
from tapioca.commands.prune.charts import draw_gains, draw_search_path
from tapioca.commands.prune.result import PruneResult
from tapioca.records import HeldOutResult
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, plain, print_block, print_line
from tapioca.report.template import write_record_page
from tapioca.search.base import measure_size

ACTION_COLOURS = {
    "prune": "green",
    "prune OOD traffic only": "yellow",
    "keep the full model": "blue",
    "repeat layers": "green",
    "repeat layers for OOD traffic only": "yellow",
}
CHANGE = "change [95 % interval]"


def draw_charts(info: PruneResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    charts = {"search": draw_search_path(info), "gains": draw_gains(info)}
    if info.profiles:
        charts["profiles"] = figures.draw_profiles(info.profiles)
        charts["deviations"] = figures.draw_deviations(info.deviations)
    return charts


def write_page(info: PruneResult) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    return write_record_page(
        __name__, info, changed=tabulate_changed(info.changed, info.metric), texts=TEXTS, measure_size=measure_size
    )


def show(info: PruneResult, console: Console) -> None:
    """Print a finished run on one screen."""
    show_data(info, console)
    _show_verdict(info, console)
    for line in run_words.describe_companions(info):
        print_line(console, line, style="dim")
    numbered = "" if info.plan.is_full else " (layers are numbered from 0)"
    console.print(plain(f"\nplan      {info.plan}{numbered}"), highlight=False)
    if not info.plan.is_full:
        verb, saved = run_words.describe_savings(info.cost, info.plan)
        console.print(plain(f"{verb:<10}{saved}"), highlight=False)
    _show_search(info, console)
    for line in _describe_geometry(info):
        console.print(plain(line), highlight=False)
    if (examples := info.folder / "examples.jsonl").is_file():
        print_line(console, f"examples  {examples}: every held-out example under the full model and {info.shown}")
    show_page(info, console)


def _show_verdict(info: PruneResult, console: Console) -> None:
    """Print what to do and why, and the held-out results behind it."""
    verdict = info.verdict
    reason = plain(f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.")
    title = f"{verdict.action.upper()}{' (tail only)' if verdict.tail_only else ''}"
    console.print(Panel(reason, title=title, title_align="left", border_style=ACTION_COLOURS[verdict.action]))
    table = tabulate_judgements(info)
    shown = "data", "plan", info.metric.name, CHANGE, "random worse"
    print_block(console, table.select(*shown), folded=[name for name in shown if name != CHANGE])


def tabulate_judgements(info: PruneResult) -> TableBlock:
    """The held-out result of every plan judged."""
    columns: dict[str, Callable[[HeldOutResult], str]] = {
        "data": lambda judgement: judgement.data.upper(),
        "plan": lambda judgement: str(judgement.plan),
        "n": lambda judgement: str(judgement.result.n),
        info.metric.name: run_words.format_scores,
        CHANGE: run_words.format_judged_effect,
        "median example": run_words.format_median_example,
        "examples better / worse": run_words.format_shares,
        "random worse": run_words.format_beaten,
        "p": lambda judgement: "–" if judgement.plan.is_full else words.p_value(judgement.result.p),
    }
    return make_table("", info.judgements, columns).without_empty()


def _show_search(info: PruneResult, console: Console) -> None:
    """Print what was searched, and on how much data."""
    tied = sum(entry.ties > 1 for entry in info.rounds)
    ties = f"; equal scores decided {tied} of {len(info.rounds)} rounds" if tied else ""
    tested = " + ".join(f"{entry.result.n} {entry.data.upper()}" for entry in info.judgements if entry.role == "best")
    examples = f"{info.cost.plans_tried} plans on {info.cost.search_examples} search examples"
    print_line(console, f"search    {info.criterion}: {examples}{ties}; judged on {tested} held out")
    asides = run_words.describe_targets, run_words.describe_race_bound, run_words.describe_blind_choice
    for line in filter(None, (*(describe(info) for describe in asides), run_words.describe_stacking(info.cost))):
        print_line(console, f"          {line}")


def _describe_geometry(info: PruneResult) -> list[str]:
    """Deviation of the OOD data before and after the plan, against the null, and how to read it."""
    lines: list[str] = []
    ood = {(deviation.kind, deviation.planned): deviation for deviation in info.deviations if deviation.data == "ood"}
    for kind, planned in ood:
        if planned:
            continue
        before, after = ood[kind, False], ood.get((kind, True))
        change = f" → {after.value:.3f} under {info.shown}" if after else ""
        label = "" if lines else "geometry"
        lines.append(f"{label:<10}OOD {kind} deviation {before.value:.3f}{change} (null {before.null_upper:.3f})")
    if lines:
        lines.append("          0 is as on ID data; null: two ID samples deviate less in 95 % of cases")
    return lines
