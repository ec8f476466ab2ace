"""What all pages have in common: one self-contained HTML file, no network, no scripts, charts as inline SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

from tapioca.disk import write_text
from tapioca.report.figures import chart_to_svg
from tapioca.report.format import data_names


def write_record_page(package: str, info: Any, charts: Mapping[str, Any], **names: Any) -> Path:
    """Write `report.html` into the folder of a finished run, and return its path.

    Args:
        package: of the command, with its page.html.j2.
        info: the record of a finished run.
        charts: altair charts by the names that the template calls them.
        names: what else the template uses.
    """
    page = render_template(
        package,
        charts,
        info=info,
        name=Path(info.model).name,
        task=Path(info.task).name,
        names=data_names(info.task, info.reference),
        **names,
    )
    return write_report(info.folder, page)


def render_template(package: str, charts: Mapping[str, Any], **names: Any) -> str:
    """A page as text: the page.html.j2 of a package over base.html.j2, charts by name, and what else it uses."""
    folders = [PackageLoader(name, ".") for name in (package, "tapioca.report")]
    pages = Environment(loader=ChoiceLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    pages.filters["minus"] = lambda number: number.replace("-", "−")
    pages.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    pages.filters["unbroken"] = _keep_together
    drawings = {name: Markup(_prefix_ids(chart_to_svg(chart), name)) for name, chart in charts.items()}
    return pages.get_template("page.html.j2").render(charts=drawings, **names)


def _keep_together(text: str) -> str:
    """Text that no line ends in within an interval or before an error ratio."""
    return re.sub(r"\[[^\]]*\]|error ratio ", lambda match: match[0].replace(" ", "\u00a0"), text)


def _prefix_ids(drawing: str, name: str) -> str:
    """A drawing whose clips and gradients no other drawing of the page shares a name with."""
    return re.sub(r'(\bid="|url\(#)', rf"\g<1>{name}-", drawing)


def write_report(folder: Path, page: str) -> Path:
    """Write `report.html` into a folder and return its path."""
    path = folder / "report.html"
    write_text(path, page)
    return path
