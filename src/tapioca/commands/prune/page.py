"""One self-contained HTML page for a run: no network, no scripts, charts as inline SVG."""

from __future__ import annotations

from pathlib import Path

import altair as alt
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from tapioca.commands.prune import words as run_words
from tapioca.commands.prune.changed import TEXTS, tabulate_changed
from tapioca.commands.prune.charts import draw_gains, draw_search_path
from tapioca.commands.prune.result import PruneResult
from tapioca.records import PROFILE_NAMES
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data
from tapioca.report.tables import plain_table, print_line
from tapioca.report.template import write_record_page

ACTION_COLOURS = {"prune": "green", "prune OOD traffic only": "yellow", "keep the full model": "blue"}
ROLE_NOTES = {
    "most layers dropped": "most layers dropped at or above the full model's search score",
    "best non-empty": "the best plan that drops anything; shown for comparison",
}


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
        "tapioca.commands.prune",
        info,
        draw_charts(info),
        words=words,
        run_words=run_words,
        changed=tabulate_changed(info),
        texts=TEXTS,
    )


def show(info: PruneResult, console: Console) -> None:
    """Print a finished run on one screen."""
    show_data(info.task, info.reference, console)
    _show_verdict(info, console)
    for line in run_words.describe_companions(info):
        print_line(console, f"[dim]{escape(line)}")
    others = {entry.role: entry.plan for entry in info.judgements if entry.role != "best"}
    for role, plan in others.items():
        console.print(f"[dim]{plan}: {ROLE_NOTES[role]}", highlight=False)
    numbered = "" if info.plan.is_full else " (layers are numbered from 0)"
    console.print(f"\nplan      {info.plan}{numbered}", highlight=False)
    if not info.plan.is_full:
        console.print(f"saves     {run_words.describe_savings(info.cost, info.plan)}", highlight=False)
    _show_search(info, console)
    for line in _describe_geometry(info):
        console.print(line, highlight=False)
    if (examples := info.folder / "examples.jsonl").is_file():
        print_line(console, f"examples  {examples}: every held-out example under the full model and {info.shown}")
    console.print(f"report    {info.folder / 'report.html'}", highlight=False)


def _show_verdict(info: PruneResult, console: Console) -> None:
    """Print what to do and why, and the held-out results behind it."""
    verdict = info.verdict
    reason = escape(verdict.reason[:1].upper() + verdict.reason[1:]) + "."
    title = f"{verdict.action.upper()}{' (tail only)' if verdict.tail_only else ''}"
    console.print(Panel(reason, title=title, title_align="left", border_style=ACTION_COLOURS[verdict.action]))
    columns = ("data", "plan", info.metric.name, "change [95 % interval]", "random worse")
    table = plain_table(*columns, folded=[name for name in columns if not name.startswith("change")])
    for judgement in info.judgements:
        table.add_row(
            judgement.data.upper(),
            str(judgement.plan),
            run_words.format_scores(judgement),
            run_words.format_judged_effect(judgement),
            run_words.format_beaten(judgement),
        )
    console.print(table, highlight=False)


def _show_search(info: PruneResult, console: Console) -> None:
    """Print what was searched, and on how much data."""
    tied = sum(entry.ties > 1 for entry in info.rounds)
    ties = f"; equal scores decided {tied} of {len(info.rounds)} rounds" if tied else ""
    tested = " + ".join(f"{entry.result.n} {entry.data.upper()}" for entry in info.judgements if entry.role == "best")
    examples = f"{info.cost.plans_tried} plans on {info.cost.search_examples} search examples"
    print_line(console, f"search    {info.criterion}: {examples}{ties}; judged on {tested} held out")
    for line in filter(None, (run_words.describe_race_bound(info), run_words.describe_stacking(info.cost))):
        print_line(console, f"          {line}")


def _describe_geometry(info: PruneResult) -> list[str]:
    """Deviation of the OOD data before and after the plan, against the null, and how to read it."""
    lines: list[str] = []
    for kind in PROFILE_NAMES:
        ood = [deviation for deviation in info.deviations if (deviation.kind, deviation.data) == (kind, "ood")]
        deviation_by_planned = {deviation.planned: deviation for deviation in ood}
        if not deviation_by_planned:
            continue
        text = f"{deviation_by_planned[False].value:.3f}"
        if True in deviation_by_planned:
            text += f" → {deviation_by_planned[True].value:.3f} under {info.shown}"
        lines.append(
            f"{'' if lines else 'geometry':<10}OOD {kind} deviation {text} (null {deviation_by_planned[False].null_upper:.3f})"
        )
    if lines:
        lines.append("          0 is as on ID data; null: two ID samples deviate less in 95 % of cases")
    return lines
