"""tapioca report"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tapioca.commands import COMMANDS, read_result

LEAVING = [f"`tapioca {name}`" for name, command in COMMANDS.items() if command.file]
"""The commands that leave a record."""


def run(
    run: Annotated[Path, typer.Argument(help=f"Run folder of {', '.join(LEAVING[:-1])} or {LEAVING[-1]}.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print the record of the run as JSON instead, for scripts.")
    ] = False,
    figures: Annotated[
        Path | None, typer.Option(help="Also write every chart into this folder, as SVG, PNG and PDF.")
    ] = None,
) -> None:
    """Print a finished run and build its page again from what is stored; needs no torch."""
    from tapioca.report.save import FORMATS, save_charts
    from tapioca.report.tables import print_line

    result, page = read_result(run)
    charts = page.draw_charts(result) if figures else {}
    if figures:
        save_charts(charts, figures)
    if json:
        typer.echo(result.model_dump_json(indent=2))
        return
    page.write_page(result)
    console = Console()
    page.show(result, console)
    if figures:
        print_line(console, f"figures   {figures}: {', '.join(charts)}, each as {', '.join(FORMATS)}")
