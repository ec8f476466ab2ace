"""tapioca geometry"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import GeometryConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("geometry")(command_from_record(GeometryConfig, run, argument="model"))


def run(config: GeometryConfig) -> None:
    """Measure the layerwise geometry of OOD data against ID data, before and after a plan; needs no answers."""
    from tapioca.flows.geometry import measure_geometry
    from tapioca.report.geometry import show_geometry
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = measure_geometry(config, screen)
    show_geometry(info, console)
