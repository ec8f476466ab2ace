"""A profile on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path

import altair as alt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tapioca.records import ProfileInfo
from tapioca.report import figures, geometry, geometry_figures
from tapioca.report.geometry import Block
from tapioca.report.screen import show_data
from tapioca.report.template import rendered, write_report


def write_profile_page(info: ProfileInfo) -> Path:
    """Write `report.html` into the folder of a profile and return its path."""
    return write_report(info.folder, render(info))


def draw_charts(info: ProfileInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    deviations = [one.deviation for one in info.kept or info.deviations]
    charts = {
        "profiles": figures.profiles(tuple(view.profile for view in info.views)),
        "ratios": geometry_figures.ratios(info),
        "deviations": figures.deviations(tuple(deviations)),
        "measures": geometry_figures.measures(info),
        "layers": geometry_figures.updates(info, branches=False),
    }
    if info.views[0].branches:
        charts["branches"] = geometry_figures.updates(info, branches=True)
    return charts


def render(info: ProfileInfo) -> str:
    """The page as text."""
    return rendered(
        "profile.html.j2",
        info,
        draw_charts(info),
        geometry=geometry,
        planned=bool(info.realigned),
    )


def show_profile(info: ProfileInfo, console: Console) -> None:
    """Print a profile: what each layer does, then the deviations, then what they say."""
    show_data(info.task, info.reference, console)
    for block in _blocks(info):
        console.print(f"[bold]{escape(block.title)}", highlight=False, soft_wrap=True)
        console.print(block_table(block), highlight=False)
        console.print()
    for line in geometry.reading(info):
        console.print(f"· {escape(line)}.", highlight=False, soft_wrap=True)
    console.print(f"\n{geometry.legend(info)}", style="dim", highlight=False, soft_wrap=True)
    console.print(
        f"{info.n} examples each of OOD, ID and the ID reference, none seen by a search with the same data and seed; "
        "layers are numbered from 0, 'in' is before the first",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"report    {info.folder / 'report.html'}", highlight=False, soft_wrap=True)


def _blocks(info: ProfileInfo) -> list[Block]:
    """The tables of the screen, the ones that decide last."""
    branches = info.views[0].branches is not None
    found = [*(geometry.layers_of(kind, info) for kind in geometry.NAMES), geometry.measures_of(info)]
    found.append(geometry.updates_of(info, branches))
    if info.realigned:
        found += [geometry.profiles_under_plan(info), geometry.measures_of(info, planned=True)]
    found.append(geometry.deviations_of(info))
    return [*found, geometry.realigned_of(info)] if info.realigned else found


def block_table(block: Block) -> Table:
    """A table for the screen."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for at, column in enumerate(block.head):
        table.add_column(escape(column), no_wrap="[" not in column, justify="right" if at else "left")
    for row in block.rows:
        table.add_row(*map(escape, row))
    return table
