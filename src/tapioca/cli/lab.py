"""tapioca lab train, tune, train-text and shifts"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from tapioca.cli.options import command_from_record
from tapioca.cli.signals import interruptible
from tapioca.lab.config import TextConfig, TrainConfig, Training, TuneConfig
from tapioca.report.screen import ScreenOptions, follow_training, open_screen
from tapioca.report.tables import make_table, print_block, print_line

if TYPE_CHECKING:
    from tapioca.lab.trainer import OnStep

app = typer.Typer(help="The lab: small models to try things on, and shifts to try them with.", no_args_is_help=True)


def run_train(config: TrainConfig, options: ScreenOptions) -> None:
    """Train an in-context learner on polynomials; interrupted, the same command goes on."""
    from tapioca.lab.train import train

    with _show_training(config, options) as on_step:
        train(config, on_step)


def run_tune(config: TuneConfig, options: ScreenOptions) -> None:
    """Train an in-context learner on, on a shift or, as a control, on ID data; interrupted, the same command goes on."""
    from tapioca.lab.train import tune

    with _show_training(config, options) as on_step:
        tune(config, on_step)


def run_train_text(config: TextConfig, options: ScreenOptions) -> None:
    """Train a small language model on the questions of a task and their answers; interrupted, the same command goes on."""
    from tapioca.lab.train_text import train_text

    with _show_training(config, options) as on_step:
        train_text(config, on_step)


def run_shifts() -> None:
    """List the shifts by what becomes of the answers: what each does at strength s, and the strengths of a study.

    A task is named after one, as lab:SHIFT=STRENGTH. Where the query alone is scored, the other points are none it
    could be compared with.
    """
    from tapioca.lab.shifts import SHIFTS

    console = Console()
    for family in ("kept", "moved"):
        columns: dict[str, Callable[[str], str]] = {
            f"answers {family}": str,
            "what it does": lambda name: SHIFTS[name].summary,
            "scored": lambda name: SHIFTS[name].scored,
            "strengths": lambda name: " ".join(f"{strength:g}" for strength in SHIFTS[name].strengths),
        }
        names = [name for name, kind in SHIFTS.items() if kind.family == family]
        print_block(console, make_table("", names, columns), folded=["what it does", "strengths"])
        console.print()


@contextmanager
def _show_training(config: Training, options: ScreenOptions) -> Iterator[OnStep]:
    """Progress while a training runs, and where the model is when it is done."""
    console = Console()
    with interruptible("the last checkpoint is stored"), open_screen(console, options) as screen:
        yield follow_training(screen, config.steps)
    print_line(console, f"wrote     {config.out}")


app.command("shifts")(run_shifts)
app.command("train")(command_from_record(TrainConfig, run_train))
app.command("tune")(command_from_record(TuneConfig, run_tune, "model"))
app.command("train-text")(command_from_record(TextConfig, run_train_text, "task"))
