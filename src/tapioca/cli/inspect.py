"""tapioca inspect"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def run(
    model: Annotated[str, typer.Argument(help="Model: a folder, or a hub id.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
) -> None:
    """Say where a model's layers are and which can be dropped and exported, without loading its weights."""
    from tapioca.flows.inspect import inspect_by_name
    from tapioca.plan import format_layers
    from tapioca.report.format import format_quantity

    facts, console = inspect_by_name(model, revision, trust_remote_code), Console(highlight=False, soft_wrap=True)
    share = facts.layer_parameters / facts.parameters
    console.print(
        f"type      {facts.model_type}, {format_quantity(facts.parameters)} parameters, {share:.0%} of them in the layers"
    )
    console.print(f"layers    {facts.n_layers} at {facts.path} ({', '.join(facts.kinds)})")
    console.print(f"drop      {f'any of {format_layers(facts.droppable)}' if facts.droppable else 'no whole layer'}")
    branches, inside = " and ".join(facts.branches), " and ".join(facts.written)
    console.print(f"scale     every layer; {branches or 'no'} branches alone")
    written = [inside and f"scales of {inside} branches", "" if facts.no_layer_scales else "scales of layers"]
    console.print(
        f"export    checkpoints that drop {f'any of {format_layers(facts.exportable)}' if facts.exportable else 'nothing'}; "
        f"{' and '.join(filter(None, written)) or 'no scales'}"
    )
    for reason in filter(None, (*facts.reasons, facts.no_layer_scales)):
        console.print(f"          {reason}", markup=False)
