"""tapioca scale"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import ScaleConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("scale")(command_from_record(ScaleConfig, run, argument="model"))


def run(config: ScaleConfig) -> None:
    """Scale the layers a plan drops, random ones and all: dose-response of score and geometry on held-out data."""
    from tapioca.flows.scale import scale
    from tapioca.report.scale import show_scale
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = scale(config, screen)
    show_scale(info, console)
