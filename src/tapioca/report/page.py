"""One self-contained HTML page for a run: no network, no scripts, charts as inline SVG."""

from __future__ import annotations

from pathlib import Path

import altair as alt

from tapioca.records import RunInfo
from tapioca.report import figures, words
from tapioca.report.changed import TEXTS, changed_tables
from tapioca.report.template import rendered, write_report


def write_page(info: RunInfo, folder: Path | None = None) -> Path:
    """Write `report.html` into the run's folder, or another, and return its path."""
    return write_report(folder or info.folder, render(info))


def draw_charts(info: RunInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    charts = {"search": figures.search_path(info), "gains": figures.gains(info)}
    if info.profiles:
        charts |= {"profiles": figures.profiles(info.profiles), "deviations": figures.deviations(info.deviations)}
    return charts


def render(info: RunInfo) -> str:
    """The page as text."""
    return rendered(
        "page.html.j2",
        info,
        draw_charts(info),
        words=words,
        changed=changed_tables(info),
        texts=TEXTS,
    )
