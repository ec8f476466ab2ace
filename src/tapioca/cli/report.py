"""tapioca report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(run)


def run(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder of `tapioca prune`, `compare`, `diagnose`, `profile`, `scale`, `space` or `study`."
        ),
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print the record of the run as JSON instead, for scripts.")
    ] = False,
) -> None:
    """Print a finished run and build its page again from what is stored; needs no torch."""
    from tapioca.records import CompareInfo, DiagnoseInfo, ProfileInfo, ScaleInfo, SpaceInfo
    from tapioca.report.compare import show_compare, write_compare_page
    from tapioca.report.diagnose import show_diagnosis, write_diagnose_page
    from tapioca.report.page import write_page
    from tapioca.report.profile import show_profile, write_profile_page
    from tapioca.report.scale import show_scale, write_scale_page
    from tapioca.report.screen import show
    from tapioca.report.space import show_space, write_space_page
    from tapioca.runs.store import read_other, read_run
    from tapioca.studies.page.page import show_study, write_study_page
    from tapioca.studies.results import StudyInfo

    others: tuple[tuple[Any, Any, Any], ...] = (
        (CompareInfo, write_compare_page, show_compare),
        (DiagnoseInfo, write_diagnose_page, show_diagnosis),
        (ProfileInfo, write_profile_page, show_profile),
        (ScaleInfo, write_scale_page, show_scale),
        (SpaceInfo, write_space_page, show_space),
        (StudyInfo, write_study_page, show_study),
    )
    for kind, write, tell in others:
        if other := read_other(kind, run):
            if json:
                typer.echo(other.model_dump_json(indent=2))
                return
            write(other)
            tell(other, Console())
            return
    info = read_run(run)
    if json:
        typer.echo(info.model_dump_json(indent=2))
        return
    write_page(info)
    show(info, Console())
