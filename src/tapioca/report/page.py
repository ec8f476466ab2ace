"""One self-contained HTML page for a run: no network, no scripts, charts as inline SVG."""

from __future__ import annotations

from pathlib import Path

import altair as alt

from tapioca.records import RunInfo
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.changed import TEXTS, tabulate_changed
from tapioca.report.template import write_record_page


def draw_charts(info: RunInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    charts = {"search": figures.draw_search_path(info), "gains": figures.draw_gains(info)}
    if info.profiles:
        charts["profiles"] = figures.draw_profiles(info.profiles)
        charts["deviations"] = figures.draw_deviations(info.deviations)
    return charts


def write_run_page(info: RunInfo) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    return write_record_page(
        "page.html.j2", info, draw_charts(info), words=words, changed=tabulate_changed(info), texts=TEXTS
    )
