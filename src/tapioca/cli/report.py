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
    figures: Annotated[
        Path | None, typer.Option(help="Also write every chart into this folder, as SVG, PNG and PDF.")
    ] = None,
) -> None:
    """Print a finished run and build its page again from what is stored; needs no torch."""
    from tapioca.report.save import FORMATS, save_charts

    info, draw, write, show = _read(run)
    charts = draw(info) if figures else {}
    if figures:
        save_charts(charts, figures)
    if json:
        typer.echo(info.model_dump_json(indent=2))
        return
    write(info)
    console = Console()
    show(info, console)
    if figures:
        line = f"figures   {figures}: {', '.join(charts)}, each as {', '.join(FORMATS)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _read(run: Path) -> tuple[Any, Any, Any, Any]:
    """The record of a run of any kind, and what draws its charts, writes its page and prints it."""
    from tapioca.records import CompareInfo, DiagnoseInfo, ProfileInfo, ScaleInfo, SpaceInfo
    from tapioca.report import compare, diagnose, page, profile, scale, screen, space
    from tapioca.runs.store import read_other, read_run
    from tapioca.studies.page import page as study
    from tapioca.studies.results import StudyInfo

    others: tuple[tuple[Any, Any, Any, Any], ...] = (
        (CompareInfo, compare.draw_charts, compare.write_compare_page, compare.show_compare),
        (DiagnoseInfo, diagnose.draw_charts, diagnose.write_diagnose_page, diagnose.show_diagnosis),
        (ProfileInfo, profile.draw_charts, profile.write_profile_page, profile.show_profile),
        (ScaleInfo, scale.draw_charts, scale.write_scale_page, scale.show_scale),
        (SpaceInfo, space.draw_charts, space.write_space_page, space.show_space),
        (StudyInfo, study.figures, study.write_study_page, study.show_study),
    )
    for kind, *ways in others:
        if info := read_other(kind, run):
            return info, *ways
    return read_run(run), page.draw_charts, page.write_page, screen.show
