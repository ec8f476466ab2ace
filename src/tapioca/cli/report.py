"""tapioca report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(run)


def run(
    run: Annotated[
        Path, typer.Argument(help="Run folder of `tapioca prune`, `compare`, `profile`, `scale` or `space`.")
    ],
) -> None:
    """Print a finished run and build its page again from what is stored; needs no torch."""
    from tapioca.report.compare import show_compare, write_compare_page
    from tapioca.report.page import write_page
    from tapioca.report.profile import show_profile, write_profile_page
    from tapioca.report.scale import show_scale, write_scale_page
    from tapioca.report.screen import show
    from tapioca.report.space import show_space, write_space_page
    from tapioca.runs.store import read_comparison, read_profile, read_run, read_scaling, read_space

    if comparison := read_comparison(run):
        write_compare_page(comparison)
        show_compare(comparison, Console())
        return
    if measured := read_profile(run):
        write_profile_page(measured)
        show_profile(measured, Console())
        return
    if scaling := read_scaling(run):
        write_scale_page(scaling)
        show_scale(scaling, Console())
        return
    if whole := read_space(run):
        write_space_page(whole)
        show_space(whole, Console())
        return
    info = read_run(run)
    write_page(info)
    show(info, Console())
