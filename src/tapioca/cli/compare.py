"""tapioca compare"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import CompareConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(command_from_record(CompareConfig, run, argument="model"))


def run(config: CompareConfig) -> None:
    """Choose plans by several criteria (TALE, SLEB, ShortGPT, ...) and judge them all on the same held-out data."""
    from tapioca.flows.compare import compare
    from tapioca.report.compare import show_compare
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = compare(config, screen)
    show_compare(info, console)
