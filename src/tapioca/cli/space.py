"""tapioca space"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import from_record
from tapioca.records import SpaceConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("space")(from_record(SpaceConfig, run, argument="model"))


def run(config: SpaceConfig) -> None:
    """Evaluate every plan of drops of a small model: the oracle, what greedy misses, realignment against gain."""
    from tapioca.flows.every_plan import space
    from tapioca.report.screen import LiveScreen
    from tapioca.report.space import show_space

    console = Console()
    with LiveScreen(console) as screen:
        info = space(config, screen)
    show_space(info, console)
