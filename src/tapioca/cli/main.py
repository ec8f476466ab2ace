"""The program `tapioca`: its commands, and one clear line for every mistake."""

import os
import sys
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from rich.console import Console

import tapioca
from tapioca.cli import demo, lab, report
from tapioca.cli.consoles import make_printable
from tapioca.cli.failures import report_failure
from tapioca.cli.options import command_from_record
from tapioca.cli.renamed import refuse_old_names
from tapioca.cli.signals import interruptible
from tapioca.commands import COMMANDS, Command, load_config_class
from tapioca.report.screen import ScreenOptions, open_screen


def _run_and_show(command: Command) -> Callable[[Any, ScreenOptions], None]:
    """A function that runs a request and prints what was found."""

    def run(config: Any, options: ScreenOptions) -> None:
        run_name, page, kept = command.run, command.page, command.kept
        if command.dry_run and config.dry_run:
            run_name, page, kept = *command.dry_run, ""
        console, run_request = Console(), resolve_name(run_name)
        with interruptible(kept), open_screen(console, options) as screen:
            result = run_request(config, screen)
        resolve_name(page).show(result, console)

    return run


app = typer.Typer(
    name="tapioca",
    help="Find the layers a model is better without on the data you really have, and see why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def print_version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"tapioca {tapioca.__version__}")
        raise typer.Exit


for name, command in COMMANDS.items():
    record = load_config_class(command)
    app.command(name, help=command.about)(command_from_record(record, _run_and_show(command), *command.arguments))
app.command("report")(report.run)
app.command("demo")(demo.run)
app.add_typer(lab.app, name="lab")


def main(argv: list[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 2 a mistake in the request, above 128 stopped by a signal."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    make_printable()
    arguments = argv if argv is not None else sys.argv[1:]
    try:
        refuse_old_names(arguments)
        code = app(arguments, prog_name="tapioca", standalone_mode=False)
        print(end="", flush=True)
        return int(code or 0)
    except SystemExit as stopped:  # by a signal, or since nobody reads what is printed
        return int(stopped.code or 0)
    except Exception as error:
        return report_failure(error)
