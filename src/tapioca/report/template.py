"""What all pages have in common: one self-contained HTML file, no network, no scripts, charts as inline SVG."""

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup
from rich.console import Console

from tapioca.disk import write_text
from tapioca.records import with_interval
from tapioca.report import format as words
from tapioca.report.drawing import NotDrawnError, draw
from tapioca.report.slim import slim_drawing
from tapioca.report.tables import print_line


def write_record_page(page: str, info: Any, **names: Any) -> Path:
    """Write `report.html` into the folder of a finished run, and return its path.

    Args:
        page: the module that draws its charts and makes its tables, which the page.html.j2 beside it calls `page`.
        info: the record of a finished run.
        names: what else the template uses.
    """
    module = sys.modules[page]
    text = render_template(
        page.rpartition(".")[0],
        module.draw_charts(info),
        page=module,
        info=info,
        name=Path(info.model).name,
        task=Path(info.task).name,
        names=words.data_names(info.task, info.reference),
        **names,
    )
    path: Path = info.folder / "report.html"
    write_text(path, text)
    return path


def render_template(package: str, charts: Mapping[str, Any], **names: Any) -> str:
    """A page as text: the page.html.j2 of a package over base.html.j2, charts by name, and what else it uses."""
    drawings, reasons = {}, []
    for name, chart in charts.items():
        try:
            drawings[name] = Markup(_prefix_ids(slim_drawing(draw(chart, "svg").decode()), name))
        except NotDrawnError as error:
            drawings[name] = Markup('<p class="note">Left out: {}.</p>').format(error)
            reasons.append(str(error))
    if reasons:
        print_line(Console(stderr=True), f"· the page has no charts: {reasons[0]}", style="dim")
    return _open_templates(package).get_template("page.html.j2").render(charts=drawings, **names)


@cache
def _open_templates(package: str) -> Environment:
    """The templates of a package, each compiled once, and what all of them use."""
    folders = [PackageLoader(name, ".") for name in (package, "tapioca.report")]
    pages = Environment(loader=ChoiceLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["minus"] = lambda number: number.replace("-", "−")
    pages.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    pages.globals.update(words=words, with_interval=with_interval)
    pages.filters["unbroken"] = _keep_together
    return pages


def _keep_together(text: str) -> str:
    """Text that no line ends in within an interval or before an error ratio."""
    return re.sub(r"\[[^\]]*\]|error ratio ", lambda match: match[0].replace(" ", "\u00a0"), text)


def _prefix_ids(drawing: str, name: str) -> str:
    """A drawing whose clips and gradients no other drawing of the page shares a name with."""
    return re.sub(r'(\bid="|url\(#)', rf"\g<1>{name}-", drawing)
