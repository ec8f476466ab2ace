"""What setting norms changes, on one screen and on one self-contained page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import altair as alt
from rich.console import Console

from tapioca.commands.rescale.result import RescaleResult, Rescaling
from tapioca.plan import Tokens
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, print_block, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, tabulate_written

TOKEN_WORDS: dict[Tokens, str] = {"last": "last tokens", "all": "all but first tokens"}
LIVE_ONLY = (
    "nothing is dropped and no answer was used; the plans are for live use, no checkpoint can hold them, since what a norm "
    "takes depends on what is read"
)


class Row(NamedTuple):
    """One rescaling on one data set."""

    data: Domain
    tokens: Tokens
    gain: Gain


def draw_charts(info: RescaleResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"effects": draw_effects(info), "norms": draw_norms(info)}


def write_page(info: RescaleResult) -> Path:
    """Write `report.html` into the folder of a rescaling and return its path."""
    return write_record_page(__name__, info, written=tabulate_written(judged_plans(info)))


def show(info: RescaleResult, console: Console) -> None:
    """Print what each rescaling changes, and how far the norms were apart."""
    show_data(info, console)
    effects = tabulate_effects(info)
    print_block(console, effects.select(*(column for column in effects.head if column not in ("n", "p"))))
    for line in explain_rescaling(info):
        print_line(console, line, style="dim")
    show_written(judged_plans(info), console)
    for rescaling in info.rescalings:
        plan = info.folder / rescaling.plan_file
        print_line(console, f"plan      {plan}: norms set at {TOKEN_WORDS[rescaling.tokens]}")
    show_page(info, console)


def list_rows(info: RescaleResult) -> list[Row]:
    """Every rescaling on every data set, OOD first."""
    return [Row(data, each.tokens, each.gains[data]) for data in info.examples for each in info.rescalings]


def judged_plans(info: RescaleResult) -> HeldOutGains:
    """Every rescaling with what it changes."""
    return [(each.plan, data, gain) for each in info.rescalings for data, gain in each.gains.items()]


def tabulate_effects(info: RescaleResult) -> TableBlock:
    """What each rescaling changes on held-out data."""
    metric = info.metric
    columns: dict[str, Callable[[Row], str]] = {
        "data": lambda row: row.data.upper(),
        "norm set at": lambda row: TOKEN_WORDS[row.tokens],
        "n": lambda row: str(row.gain.n),
        metric.name: lambda row: f"{metric.format(row.gain.full)} → {metric.format(row.gain.planned)}",
        "change [95 % interval]": lambda row: str(row.gain),
        "p": lambda row: words.p_value(row.gain.p),
    }
    return make_table("", list_rows(info), columns)


def tabulate_norms(info: RescaleResult) -> TableBlock:
    """The norms of the stream in front of each layer."""
    layers = range(len(info.rescalings[0].ood_norms))
    columns: dict[str, Callable[[int], str]] = {"layer": str}
    for each in info.rescalings:
        where, id_norms = TOKEN_WORDS[each.tokens], dict(each.plan.norms)
        columns[f"ID, {where}"] = _format_norms(id_norms)
        columns[f"OOD, {where}"] = _format_norms(each.ood_norms)
    return make_table("", layers, columns)


def _format_norms(norms: Mapping[int, float] | Sequence[float]) -> Callable[[int], str]:
    """The column of the norm in front of a layer."""
    return lambda layer: f"{norms[layer]:.4g}"


def explain_rescaling(info: RescaleResult) -> list[str]:
    """How far apart the norms are, and what the plans can be used for."""
    lines = [f"OOD norms at {TOKEN_WORDS[each.tokens]}: {describe_distance(each)}" for each in info.rescalings]
    return [*lines, LIVE_ONLY]


def describe_distance(rescaling: Rescaling) -> str:
    """The smallest and the largest ratio of OOD to ID norms."""
    id_norms = dict(rescaling.plan.norms)
    ratios = {layer: norm / id_norms[layer] for layer, norm in enumerate(rescaling.ood_norms)}
    least, most = min(ratios, key=lambda layer: ratios[layer]), max(ratios, key=lambda layer: ratios[layer])
    return f"{ratios[least]:.3f} (layer {least}) to {ratios[most]:.3f} (layer {most}) of those of ID inputs"


def draw_effects(info: RescaleResult) -> alt.TopLevelMixin:
    """Held-out effects with their intervals."""
    rows = [
        figures.effect_row(
            info.metric,
            row.gain,
            name=f"{row.data.upper()}: {TOKEN_WORDS[row.tokens]}",
            colour=figures.COLOURS[row.data.upper()],
        )
        for row in list_rows(info)
    ]
    chart = figures.draw_effects(info.metric, rows, [], [row["name"] for row in rows])
    return chart.properties(width=figures.FULL_WIDTH - 60, height=34 * len(rows))


def draw_norms(info: RescaleResult) -> alt.TopLevelMixin:
    """The norm of the stream in front of each layer on OOD and ID inputs, a panel for each set of tokens."""
    panels = []
    for each in info.rescalings:
        profiles = {"OOD": each.ood_norms, "ID": tuple(norm for _, norm in each.plan.norms)}
        rows = [
            {"layer": layer, "value": norm, "series": series}
            for series, norms in profiles.items()
            for layer, norm in enumerate(norms)
        ]
        x = alt.X("layer:Q", title="in front of layer", axis=figures.integer_axis(range(len(each.ood_norms))))
        lines = figures.draw_lines(rows, x, alt.Scale(type="log", nice=False, padding=10))
        panels.append(alt.layer(*lines).properties(width=figures.WIDTH, title=f"norm at {TOKEN_WORDS[each.tokens]}"))
    return alt.hconcat(*panels)
