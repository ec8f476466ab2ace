"""Tables and lines of the screen; tables stand on pages too."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class TableBlock:
    """A table: its title, the heads of its columns, its rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_line(console: Console, text: str, style: str | None = None) -> None:
    """Print a line that only the terminal breaks, its markup as the only colours."""
    console.print(text, style=style, highlight=False, soft_wrap=True)


def print_block(console: Console, block: TableBlock) -> None:
    """Print a table below its title, and an empty line."""
    print_line(console, f"[bold]{escape(block.title)}")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for index, column in enumerate(block.head):
        table.add_column(escape(column), no_wrap="[" not in column, justify="right" if index else "left")
    for row in block.rows:
        table.add_row(*map(escape, row))
    console.print(table, highlight=False)
    console.print()


def plain_table(*columns: str, folded: Collection[str] | None = None) -> Table:
    """A table without lines.

    Args:
        folded: the columns whose cells may be folded; by default the first alone.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column not in (columns[:1] if folded is None else folded))
    return table
