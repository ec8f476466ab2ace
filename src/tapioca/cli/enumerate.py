"""tapioca enumerate"""

from __future__ import annotations

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.records import EnumerateConfig


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("enumerate")(command_from_record(EnumerateConfig, run, argument="model"))


def run(config: EnumerateConfig) -> None:
    """Evaluate every plan of drops of a small model: the oracle, what greedy misses, realignment against gain."""
    from tapioca.flows.enumerate import enumerate_plans
    from tapioca.report.enumerate import show_enumerate
    from tapioca.report.screen import LiveScreen

    console = Console()
    with LiveScreen(console) as screen:
        info = enumerate_plans(config, screen)
    show_enumerate(info, console)
