"""A profile on one screen and on one self-contained page."""

from pathlib import Path

import altair as alt
from rich.console import Console

from tapioca.commands.geometry import charts as geometry_figures
from tapioca.commands.geometry import tables as geometry
from tapioca.commands.geometry.result import GeometryResult
from tapioca.report import figures
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, print_block, print_line
from tapioca.report.template import write_record_page


def draw_charts(info: GeometryResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    deviations = [tested.deviation for tested in info.kept or info.deviations]
    charts = {
        "profiles": figures.draw_profiles(tuple(view.profile for view in info.views)),
        "ratios": geometry_figures.draw_ratios(info),
        "deviations": figures.draw_deviations(tuple(deviations)),
        "measures": geometry_figures.draw_measures(info),
        "layers": geometry_figures.draw_updates(info, branches=False),
    }
    if info.views[0].branches:
        charts["branches"] = geometry_figures.draw_updates(info, branches=True)
    return charts


def write_page(info: GeometryResult) -> Path:
    """Write `report.html` into the folder of a profile and return its path."""
    return write_record_page(__name__, info)


def show(info: GeometryResult, console: Console) -> None:
    """Print a profile: what each layer does, then the deviations, then what they say."""
    show_data(info, console)
    for block in _screen_blocks(info):
        print_block(console, block)
    for line in geometry.explain_profile(info):
        print_line(console, f"· {line}.")
    print_line(console, f"\n{geometry.explain_columns(info)}", style="dim")
    print_line(
        console,
        f"{info.n} examples each of OOD, ID and the ID reference, none seen by a search with the same data and seed; "
        "layers are numbered from 0, 'in' is before the first",
        style="dim",
    )
    show_page(info, console)


def _screen_blocks(info: GeometryResult) -> list[TableBlock]:
    """The tables of the screen, the ones that decide last."""
    branches = info.views[0].branches is not None
    blocks = [*(geometry.tabulate_layers(kind, info) for kind in geometry.KIND_NAMES), geometry.tabulate_measures(info)]
    blocks.append(geometry.tabulate_updates(info, branches))
    if info.realigned:
        blocks += [geometry.tabulate_planned_profiles(info), geometry.tabulate_measures(info, planned=True)]
    blocks.append(geometry.tabulate_deviations(info))
    return [*blocks, geometry.tabulate_realignment(info)] if info.realigned else blocks
