"""tapioca tasks"""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from tapioca.records import TasksConfig


def run(config: TasksConfig) -> None:
    """List the tasks that are ready by name, or show what one asks: prompt, tokens, and where scoring starts."""
    from tapioca.errors import UsageError

    console = Console(highlight=False, soft_wrap=True)
    if config.write and not config.task:
        raise UsageError("--write describes a data file; name one")
    if not config.task:
        _list_tasks(console, f"{config.compat}/" if config.compat else "")
    elif not config.model:
        raise UsageError("a task is shown as a model reads it; say which with --model")
    else:
        _show_task(console, config)


def _list_tasks(console: Console, start: str) -> None:
    """The names that begin so, and what they are; without a beginning also what else can be a task."""
    from tapioca.tasks.catalog import CATALOG
    from tapioca.tasks.spec import read_spec

    table = Table("name", "kind", Column("data", overflow="fold"), box=None, pad_edge=False)
    for name, path in CATALOG.items():
        if not name.startswith(start):
            continue
        data_source, spec = read_spec(path, {})
        table.add_row(name, spec.kind, str(data_source))
    console.print(table)
    if start:
        return
    console.print(
        "\nand data files (.jsonl, .json, .csv, .tsv, .parquet) or folders of them, task .yaml files, hub:ID, harness:TASK, lab:SHIFT=STRENGTH, held-out:MODEL"
    )


def _show_task(console: Console, config: TasksConfig) -> None:
    """The task, and its first examples token by token."""
    from rich.markup import escape

    from tapioca.flows.tasks import show_task
    from tapioca.report import format as words
    from tapioca.tasks.catalog import find_variant

    task_sample = show_task(config)
    name = find_variant(config.task, config.compat)
    chance = "" if task_sample.chance is None else f", chance {task_sample.metric.format(task_sample.chance)}"
    console.print(
        f"{name}: {task_sample.examples} examples, measured by {task_sample.metric.name}{chance}", markup=False
    )
    if balance := words.format_label_counts(task_sample.labels):
        console.print(balance, markup=False)
    for note in task_sample.notes:
        console.print(note, markup=False)
    for text, read, scored in task_sample.shown:
        console.rule(align="left")
        console.print(text, markup=False)
        console.print(f"[dim]read[/]   {escape(' '.join(read))}")
        console.print(f"[dim]scored[/] {escape(' '.join(scored)) or 'what the model writes'}")
    if config.write:
        console.print(f"written to {config.write}; edit it, then --task {config.write}", markup=False)
