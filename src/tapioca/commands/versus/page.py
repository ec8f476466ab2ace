"""What B changes over A, on one screen and on one self-contained page."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import altair as alt
from rich.console import Console
from rich.panel import Panel

from tapioca.commands.prune.changed import TEXTS, tabulate_changed
from tapioca.commands.versus import words as versus_words
from tapioca.commands.versus.result import ComparedModel, VersusResult
from tapioca.records import Gain, Written
from tapioca.records.results import Domain
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, plain, print_block, print_line
from tapioca.report.template import write_record_page

ACTION_COLOURS = {"take B": "green", "take B for OOD traffic only": "yellow", "keep A": "blue"}
CHANGE = "change from A to B [95 % interval]"


class Row(NamedTuple):
    """One data set."""

    data: Domain
    gain: Gain
    chance: float | None


class WrittenRow(NamedTuple):
    """The texts of a model on a data set; `place` is 0 for A and 1 for B."""

    data: Domain
    place: int
    n: int
    written: Written


def draw_charts(info: VersusResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"changes": draw_changes(info)}


def write_page(info: VersusResult) -> Path:
    """Write `report.html` into the folder of a comparison and return its path."""
    names = [f"{Path(model.name).name} ({letter})" for letter, model in zip("AB", info.models, strict=True)]
    title = f"{' and '.join(names)} on {Path(info.task).name}"
    changed = tabulate_changed(info.changed, info.metric)
    return write_record_page(__name__, info, title=title, changed=changed, texts=TEXTS)


def show(info: VersusResult, console: Console) -> None:
    """Print a finished comparison on one screen."""
    show_data(info, console)
    for letter, model in zip("AB", info.models, strict=True):
        print_line(console, f"{letter}         {model.name}: {versus_words.describe_model(model)}")
    for line in versus_words.list_seen_rows(info.models):
        print_line(console, f"          {line}")
    verdict = info.verdict
    reason = plain(f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.")
    title = f"{verdict.action.upper()}{' (tail only)' if verdict.tail_only else ''}"
    console.print(Panel(reason, title=title, title_align="left", border_style=ACTION_COLOURS[verdict.action]))
    changes = tabulate_changes(info)
    shown = ("data", "rows", f"{info.metric.name}, A → B", CHANGE)
    print_block(console, changes.select(*shown), folded=[name for name in shown if name != CHANGE])
    for line in versus_words.describe_companions(info):
        print_line(console, line, style="dim")
    written = tabulate_written(info)
    if written.rows:
        print_block(console, written, folded=written.head)
    print_line(console, f"rows      {versus_words.describe_rows(info)}")
    print_line(console, f"examples  {info.folder / 'examples.jsonl'}: every row under A (full) and B (plan)")
    show_page(info, console)


def list_rows(info: VersusResult) -> list[Row]:
    """The data sets with what B changes there, OOD first."""
    return [Row(domain, each.result, each.chance) for domain, each in info.comparisons.items()]


def tabulate_models(info: VersusResult) -> TableBlock:
    """The two models."""
    columns: dict[str, Callable[[tuple[str, ComparedModel]], str]] = {
        "": lambda row: row[0],
        "model": lambda row: row[1].name,
        "layers": lambda row: str(row[1].n_layers),
        "parameters": lambda row: words.format_quantity(row[1].parameters),
        "dtype": lambda row: row[1].dtype,
        "mean tokens a row": lambda row: ", ".join(f"{n:.3g} {data.upper()}" for data, n in row[1].mean_tokens.items()),
    }
    return make_table("", list(zip("AB", info.models, strict=True)), columns)


def tabulate_changes(info: VersusResult) -> TableBlock:
    """What B changes on held-out data."""
    metric = info.metric
    columns: dict[str, Callable[[Row], str]] = {
        "data": lambda row: row.data.upper(),
        "rows": lambda row: str(row.gain.n),
        f"{metric.name}, A → B": lambda row: f"{metric.format(row.gain.full)} → {metric.format(row.gain.planned)}",
        CHANGE: lambda row: str(row.gain) + (" (tail only)" if row.gain.tail_only else ""),
        "median row": lambda row: words.format_typical(row.gain).removeprefix("error "),
        "rows better / worse": lambda row: f"{100 * row.gain.improved:.1f} % / {100 * row.gain.worsened:.1f} %",
        "guessing": lambda row: "" if row.chance is None or metric.kind == "error" else metric.format(row.chance),
        "p": lambda row: words.p_value(row.gain.p),
    }
    return make_table("", list_rows(info), columns).without_empty()


def tabulate_written(info: VersusResult) -> TableBlock:
    """How the texts ended that the models wrote."""
    gains = [(domain, each.companion or each.result) for domain, each in info.comparisons.items()]
    rows = [
        WrittenRow(domain, place, gain.n, gain.written)
        for domain, gain in gains
        if gain.written is not None
        for place in (0, 1)
    ]
    columns: dict[str, Callable[[WrittenRow], str]] = {
        "written answers": lambda row: "AB"[row.place],
        "data": lambda row: row.data.upper(),
        "no answer in": lambda row: f"{row.written.unparsed[row.place] / row.n:.0%}",
        "broke off": lambda row: f"{row.written.truncated[row.place] / row.n:.0%}",
        f"mean tokens{'' if info.same_tokens else ' of its own'}": lambda row: (
            f"{row.written.mean_length[row.place]:.3g}"
        ),
    }
    return make_table("", rows, columns)


def draw_changes(info: VersusResult) -> alt.TopLevelMixin:
    """What B changes with its intervals; between the dashed lines a change is held to be nothing."""
    metric = info.metric
    rows = [
        figures.effect_row(metric, row.gain, name=row.data.upper(), colour=figures.COLOURS[row.data.upper()])
        for row in list_rows(info)
    ]
    margins = [
        figures.rule_at("x", metric.effect(change), color=figures.GREY, strokeDash=figures.DASHED)
        for change in (-metric.margin, metric.margin)
    ]
    effects = figures.draw_effects(metric, rows, [], [row["name"] for row in rows], against="A's")
    return alt.layer(*margins, effects).properties(width=figures.FULL_WIDTH - 60, height=34 * len(rows))
