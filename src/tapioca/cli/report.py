"""tapioca report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape


def run(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder of `tapioca prune`, `compare`, `diagnose`, `enumerate`, `geometry`, `scale` or `study`."
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
    from tapioca.report.tables import print_line

    info, draw, write, show = _read_any_record(run)
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
        print_line(console, escape(f"figures   {figures}: {', '.join(charts)}, each as {', '.join(FORMATS)}"))


def _read_any_record(run: Path) -> tuple[Any, Any, Any, Any]:
    """The record of a run of any kind, and what draws its charts, writes its page and prints it."""
    from tapioca.records import CompareInfo, DiagnoseInfo, EnumerateInfo, GeometryInfo, ScaleInfo
    from tapioca.report import compare, diagnose, geometry, page, scale, screen
    from tapioca.report import enumerate as enumeration
    from tapioca.runs.store import read_command_record, read_run
    from tapioca.studies.page import page as study
    from tapioca.studies.results import StudyInfo

    others: tuple[tuple[Any, Any, Any, Any], ...] = (
        (CompareInfo, compare.draw_charts, compare.write_compare_page, compare.show_compare),
        (DiagnoseInfo, diagnose.draw_charts, diagnose.write_diagnose_page, diagnose.show_diagnosis),
        (GeometryInfo, geometry.draw_charts, geometry.write_geometry_page, geometry.show_geometry),
        (ScaleInfo, scale.draw_charts, scale.write_scale_page, scale.show_scale),
        (EnumerateInfo, enumeration.draw_charts, enumeration.write_enumerate_page, enumeration.show_enumerate),
        (StudyInfo, study.draw_study_charts, study.write_study_page, study.show_study),
    )
    for kind, *ways in others:
        if info := read_command_record(kind, run):
            return info, *ways
    return read_run(run), page.draw_charts, page.write_run_page, screen.show_run
