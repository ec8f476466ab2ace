"""What healing gave, on one screen and on one self-contained page."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd
from rich.console import Console
from rich.panel import Panel

from tapioca.commands.heal.config import Source
from tapioca.commands.heal.result import HealResult, OrderResult
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, plain, print_block, print_line
from tapioca.report.template import write_record_page

COLOURS = {
    "take the healed model": "green",
    "take the healed model for OOD traffic only": "yellow",
    "keep the full model": "blue",
}
SOURCES: dict[Source, str] = {
    "labels": "right answers",
    "teacher": "what the full model gives",
    "answers": "the full model's own answers",
}
COLOURS_OF_DATA = {**figures.COLOURS, "data": figures.GREY}
COMPARISONS = {
    "plan_over_full": "plan vs full model",
    "over_plan": "healed vs plan",
    "over_full": "healed vs full model",
}
"""What is compared, in the order of its story."""
FROM_TO = "from → to"
CHANGE = "change [95 % interval]"


class Row(NamedTuple):
    """One comparison on one data set."""

    what: str
    data: Domain
    gain: Gain


def draw_charts(info: HealResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"changes": draw_changes(info), "losses": draw_losses(info)}


def write_page(info: HealResult) -> Path:
    """Write `report.html` into the folder and return its path."""
    return write_record_page(__name__, info)


def show(info: HealResult, console: Console) -> None:
    """Print what healing gave on one screen."""
    show_data(info, console)
    print_line(console, f"healed    {describe_training(info)}")
    verdict = info.verdict
    reason = plain(f"{verdict.reason[:1].upper()}{verdict.reason[1:]}.")
    console.print(Panel(reason, title=verdict.action.upper(), title_align="left", border_style=COLOURS[verdict.action]))
    print_block(console, tabulate_changes(info).select("", "data", FROM_TO, CHANGE))
    if info.orders:
        print_block(console, tabulate_orders(info).select("order", "OOD", "ID", "seconds"))
    print_line(console, f"model     {info.folder / info.checkpoint}: an ordinary checkpoint")
    show_page(info, console)


def describe_training(info: HealResult) -> str:
    """How it was trained, in a line."""
    training = info.training
    what = f"adapters of rank {training.rank}" if training.rank else "all weights"
    source = SOURCES[training.by]
    rows = " and ".join(
        f"{n} {name.upper() if name in ('ood', 'id') else 'given'}" for name, n in training.rows.items()
    )
    return (
        f"{what} of {info.plan} by {source}, {training.steps} steps of {training.batch} of {rows} rows, "
        f"{words.format_duration(training.seconds)}; loss {training.losses[0]:.3g} → {training.losses[-1]:.3g}"
    )


def list_rows(info: HealResult) -> list[Row]:
    """All comparisons on all data sets."""
    return [
        Row(what, data, each.companion or each.result)
        for name, what in COMPARISONS.items()
        for data, each in getattr(info, name).items()
    ]


def tabulate_changes(info: HealResult) -> TableBlock:
    """What each of the models changes on held-out rows."""
    columns: dict[str, Callable[[Row], str]] = {
        "": lambda row: row.what,
        "data": lambda row: row.data.upper(),
        "rows": lambda row: str(row.gain.n),
        FROM_TO: lambda row: f"{row.gain.metric.format(row.gain.full)} → {row.gain.metric.format(row.gain.planned)}",
        CHANGE: lambda row: str(row.gain),
        "p": lambda row: words.p_value(row.gain.p),
    }
    return make_table(f"held out: {info.metric.name}", list_rows(info), columns)


def tabulate_orders(info: HealResult) -> TableBlock:
    """What every order of pruning and tuning changes over the full model."""
    columns: dict[str, Callable[[OrderResult], str]] = {
        "order": lambda row: row.order,
        "seeds": lambda row: str(len(row.trials)),
        "last search": _list_plans,
        **{domain.upper(): partial(_format_gains, domain=domain) for domain in info.over_full},
        "written": _describe_written,
        "seconds": lambda row: f"{np.mean([trial.seconds for trial in row.trials]):.3g}",
    }
    title = f"orders, each beside the full model: mean [lowest, highest] over seeds of the change of {info.metric.name}"
    return make_table(title, info.orders, columns).without_empty()


def _list_plans(row: OrderResult) -> str:
    """What the last search of an order found, seed by seed where they differ."""
    found = ("nothing to drop" if trial.plan.is_full else str(trial.plan) for trial in row.trials)
    return "–" if row.order == "tune" else "; ".join(dict.fromkeys(found))


def _list_gains(row: OrderResult, domain: Domain) -> list[Gain]:
    return [each.companion or each.result for each in (trial.over_full[domain] for trial in row.trials)]


def _format_gains(row: OrderResult, domain: Domain) -> str:
    """The mean over seeds, with the lowest and the highest; of several seeds no interval over rows."""
    gains = _list_gains(row, domain)
    if len(gains) == 1:
        return str(gains[0])
    changes = [gain.gain for gain in gains]
    return gains[0].metric.format_effect(float(np.mean(changes)), (min(changes), max(changes)), named=True)


def _describe_written(row: OrderResult) -> str:
    """How the texts of the changed models end, on OOD rows."""
    written = [(gain, gain.written) for gain in _list_gains(row, "ood") if gain.written]
    if not written:
        return ""
    unparsed, length = (
        np.mean([one.unparsed[1] / gain.n for gain, one in written]),
        np.mean([one.mean_length[1] for _, one in written]),
    )
    return f"no answer in {unparsed:.0%}, {length:.3g} tokens"


def draw_changes(info: HealResult) -> alt.TopLevelMixin:
    """What each of the models changes, with its interval."""
    rows = [
        figures.effect_row(
            row.gain.metric,
            row.gain,
            name=f"{row.what.removesuffix(' model')}, {row.data.upper()}",
            colour=figures.COLOURS[row.data.upper()],
        )
        for row in list_rows(info)
    ]
    chart = figures.draw_effects(
        list_rows(info)[0].gain.metric, rows, [], [row["name"] for row in rows], against="the other's"
    )
    return chart.properties(width=figures.FULL_WIDTH - 260, height=30 * len(rows))


def draw_losses(info: HealResult) -> alt.TopLevelMixin:
    """The loss of every step."""
    training = info.training
    names = [name.upper() if name in ("ood", "id") else "data" for name in training.rows]
    data = [names[step % len(names)] for step in range(training.steps)]
    table = pd.DataFrame({"step": range(1, training.steps + 1), "loss": training.losses, "data": data})
    return (
        alt.Chart(table)
        .mark_line()
        .encode(
            color=alt.Color(
                "data:N", title="", scale=alt.Scale(domain=names, range=[COLOURS_OF_DATA[name] for name in names])
            ),
            x=alt.X("step:Q", title="step"),
            y=alt.Y("loss:Q", title="loss of the step", scale=alt.Scale(zero=False)),
        )
        .properties(width=figures.FULL_WIDTH - 60, height=180)
    )
