"""tapioca report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(run)


def run(run: Annotated[Path, typer.Argument(help="Run folder of `tapioca prune`.")]) -> None:
    """Print a finished run and build its page again from what is stored; needs no torch."""
    from tapioca.report.page import write_page
    from tapioca.report.screen import show
    from tapioca.runs.store import read_run

    info = read_run(run)
    write_page(info)
    show(info, Console())
