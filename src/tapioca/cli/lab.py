"""tapioca lab train"""

from __future__ import annotations

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tapioca.cli.options import from_record
from tapioca.lab.config import TrainConfig

app = typer.Typer(help="The polynomial lab: train in-context learners.", no_args_is_help=True)


def run_train(config: TrainConfig) -> None:
    """Train an in-context learner on polynomials; interrupted, the same command goes on."""
    from tapioca.lab.train import train

    console = Console()
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training", total=config.steps, loss=float("nan"))
        train(config, lambda done, loss: progress.update(bar, completed=done, loss=loss))
    console.print(f"wrote     {config.out}", highlight=False)


app.command("train")(from_record(TrainConfig, run_train))


@app.callback()
def _group() -> None:
    """Keeps `train` a subcommand while it is the only one."""
