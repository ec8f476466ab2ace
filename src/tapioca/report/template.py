"""What all pages have in common: one self-contained HTML file, no network, no scripts, charts as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tapioca.disk import write_text
from tapioca.report.figures import svg


def rendered(template: str, info: Any, charts: Mapping[str, Any], **names: Any) -> str:
    """A page as text.

    Args:
        template: a file of this folder.
        info: the record of a finished run.
        charts: altair charts by the names that the template calls them.
        names: what else the template uses.
    """
    page = Environment(
        loader=PackageLoader("tapioca.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    page.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    return page.get_template(template).render(
        info=info,
        name=Path(info.model).name,
        task=Path(info.task).name,
        charts={name: Markup(svg(chart)) for name, chart in charts.items()},
        **names,
    )


def write_report(folder: Path, page: str) -> Path:
    """Write `report.html` into a folder and return its path."""
    path = folder / "report.html"
    write_text(path, page)
    return path
