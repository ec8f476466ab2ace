"""tapioca inspect"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(run)


def run(
    model: Annotated[str, typer.Argument(help="Model: a folder, or a hub id.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
) -> None:
    """Say where a model's layers are and which can be dropped and exported, without loading its weights."""
    from tapioca.flows.inspect import inspect
    from tapioca.records import ranges
    from tapioca.report.words import quantity

    found, console = inspect(model, revision, trust_remote_code), Console(highlight=False, soft_wrap=True)
    share = found.layer_parameters / found.parameters
    console.print(
        f"type      {found.model_type}, {quantity(found.parameters)} parameters, {share:.0%} of them in the layers"
    )
    console.print(f"layers    {found.n_layers} at {found.path} ({', '.join(found.kinds)})")
    console.print(f"drop      {f'any of {ranges(found.droppable)}' if found.droppable else 'no whole layer'}")
    branches, inside = " and ".join(found.branches), " and ".join(found.written)
    console.print(f"scale     every layer; {branches or 'no'} branches alone")
    written = [inside and f"scales of {inside} branches", "" if found.no_layer_scales else "scales of layers"]
    console.print(
        f"export    checkpoints that drop {f'any of {ranges(found.exportable)}' if found.exportable else 'nothing'}; "
        f"{' and '.join(filter(None, written)) or 'no scales'}"
    )
    for reason in filter(None, (*found.reasons, found.no_layer_scales)):
        console.print(f"          {reason}", markup=False)
