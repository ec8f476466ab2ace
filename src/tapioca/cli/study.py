"""tapioca study"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.studies.spec import StudyConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("study")(command_from_record(StudyConfig, run, argument="file"))


def run(config: StudyConfig) -> None:
    """Measure what a study asks for and judge its claims by the rules in its file; interrupted, the same command goes on."""
    from tapioca.report.screen import LiveScreen
    from tapioca.studies.page.page import show_study
    from tapioca.studies.run import run_study

    console = Console()
    with LiveScreen(console) as screen:
        info = run_study(config, screen)
    show_study(info, console)
