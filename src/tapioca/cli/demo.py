"""tapioca demo"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tapioca.cli.signals import interruptible
from tapioca.commands import COMMANDS
from tapioca.commands.prune.config import PruneConfig


def demo_config(out: Path) -> PruneConfig:
    """What the demo asks: noisy points in the prompt against the clean ones the packaged learner was trained on."""
    return PruneConfig(model="learner", task="lab:context_noise=0.2", reference="lab:id", out=out, batch_size=128)


def run(out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/demo")) -> None:
    """Show the effect on a small trained in-context learner that ships with the package (under a minute)."""
    from tapioca.commands.prune.page import show
    from tapioca.commands.prune.run import prune
    from tapioca.report.screen import open_screen
    from tapioca.report.tables import print_line

    config, console = demo_config(out), Console()
    print_line(console, "A small transformer has learned to continue polynomials from points in its prompt.")
    print_line(console, "Now the points it sees turn noisy (σ = 0.2). Is it better off without some layers?")
    print_line(console, f"$ {config.command()}", style="dim")
    with interruptible(COMMANDS["prune"].kept), open_screen(console) as screen:
        result = prune(config, screen)
    show(result, console)
