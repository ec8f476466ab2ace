"""tapioca tasks"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tasks")(run)


def run(
    task: Annotated[str | None, typer.Argument(help="Task to show: a name, a file, hub:ID or harness:TASK.")] = None,
    model: Annotated[str | None, typer.Option(help="Model whose tokenizer is used: a folder, or a hub id.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Examples to show.")] = 2,
    include_path: Annotated[str | None, typer.Option(help="Folder with lm-eval task YAMLs for harness:TASK.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    compat: Annotated[
        Literal["tale"] | None, typer.Option(help="Show ready tasks as TALE's code asks them, with its known faults.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask by the tokenizer's chat template.")] = False,
    system: Annotated[str | None, typer.Option(help="System prompt of the chat.")] = None,
) -> None:
    """List the tasks that are ready by name, or show what one asks: prompt, tokens, and where scoring starts."""
    from tapioca.errors import UsageError
    from tapioca.tasks.catalog import variant

    console = Console(highlight=False, soft_wrap=True)
    if task is None:
        _list(console, f"{compat}/" if compat else "")
    elif model is None:
        raise UsageError("a task is shown as a model reads it; say which with --model")
    else:
        said = {"include_path": include_path, "chat": chat, "system": system}
        given = {name: value for name, value in said.items() if value}
        _show(console, variant(task, compat), model, count, given, revision)


def _list(console: Console, start: str) -> None:
    """The names that begin so, and what they are; without a beginning also what else can be a task."""
    from tapioca.tasks.catalog import CATALOG
    from tapioca.tasks.spec import read_spec

    table = Table("name", "kind", Column("data", overflow="fold"), box=None, pad_edge=False)
    for name, path in CATALOG.items():
        if not name.startswith(start):
            continue
        data, spec = read_spec(path, {})
        table.add_row(name, spec.kind, str(data))
    console.print(table)
    if start:
        return
    console.print(
        "\nand data files (.jsonl, .json, .csv, .tsv, .parquet) or folders of them, task .yaml files, hub:ID, harness:TASK, lab:SHIFT=STRENGTH, held-out:MODEL"
    )


def _show(console: Console, name: str, model: str, count: int, given: dict[str, Any], revision: str | None) -> None:
    """The task, and its first examples token by token."""
    from rich.markup import escape

    from tapioca.flows.tasks import show_task
    from tapioca.report import words

    found = show_task(name, model, count, given, revision)
    chance = "" if found.chance is None else f", chance {found.metric.format(found.chance)}"
    console.print(f"{name}: {found.examples} examples, measured by {found.metric.name}{chance}", markup=False)
    if balance := words.balance(found.labels):
        console.print(balance, markup=False)
    for note in found.notes:
        console.print(note, markup=False)
    for text, read, scored in found.shown:
        console.rule(align="left")
        console.print(text, markup=False)
        console.print(f"[dim]read[/]   {escape(' '.join(read))}")
        console.print(f"[dim]scored[/] {escape(' '.join(scored)) or 'what the model writes'}")
