"""One self-contained HTML page for a run: no network, no scripts, charts as inline SVG."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tapioca.disk import write_text
from tapioca.records import RunInfo
from tapioca.report import figures, words


def write_page(info: RunInfo, folder: Path | None = None) -> Path:
    """Write `report.html` into the run's folder, or another, and return its path."""
    path = (folder or info.folder) / "report.html"
    write_text(path, render(info))
    return path


def render(info: RunInfo) -> str:
    """The page as text."""
    page = Environment(
        loader=PackageLoader("tapioca.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    page.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    charts = {"search": figures.search_path(info), "gains": figures.gains(info)}
    if info.profiles:
        charts |= {"profiles": figures.profiles(info.profiles), "deviations": figures.deviations(info.deviations)}
    return page.get_template("page.html.j2").render(
        info=info,
        name=Path(info.model).name,
        task=Path(info.task).name,
        charts={name: Markup(figures.svg(chart)) for name, chart in charts.items()},
        words=words,
    )
