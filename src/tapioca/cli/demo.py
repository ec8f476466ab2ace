"""tapioca demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def run(out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo")) -> None:
    """Show the effect on a small trained in-context learner that ships with the package (under a minute)."""
    from tapioca.flows.demo import demo_config
    from tapioca.flows.prune import prune
    from tapioca.report.screen import LiveScreen, show_run

    config, console = demo_config(out), Console()
    console.print("A small transformer has learned to continue polynomials from points in its prompt.", soft_wrap=True)
    console.print("Now the points it sees turn noisy (σ = 0.2). Is it better off without some layers?", soft_wrap=True)
    console.print(f"[dim]$ {config.command()}", highlight=False, soft_wrap=True)
    with LiveScreen(console) as screen:
        info = prune(config, screen)
    show_run(info, console)
