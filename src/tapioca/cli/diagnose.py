"""tapioca diagnose"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import DiagnoseConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("diagnose")(command_from_record(DiagnoseConfig, run, argument="model"))


def run(config: DiagnoseConfig) -> None:
    """Say before any search, and without answers, whether inputs are in distribution, distorted or misaligned."""
    from tapioca.flows.diagnose import diagnose
    from tapioca.report.diagnose import show_diagnosis
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = diagnose(config, screen)
    show_diagnosis(info, console)
