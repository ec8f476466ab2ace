"""tapioca profile"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import from_record
from tapioca.records import ProfileConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(from_record(ProfileConfig, run, argument="model"))


def run(config: ProfileConfig) -> None:
    """Measure the layerwise geometry of OOD data against ID data, before and after a plan; needs no answers."""
    from tapioca.flows.profile import profile
    from tapioca.report.profile import show_profile
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = profile(config, screen)
    show_profile(info, console)
