"""Tables and lines of the screen; tables stand on pages too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

T = TypeVar("T")
Piece: TypeAlias = str | tuple[str, str]
"""Some text, or text and the style it is printed in."""

CONTROLS = (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
VISIBLE = dict.fromkeys(CONTROLS, "\ufffd")
"""Characters that move the cursor of a terminal, colour it or turn the direction of writing, and what stands for them."""

LONG_WORD = 24
"""Characters of a word in a folded column that is not kept in one line at any cost."""


@dataclass(frozen=True)
class TableBlock:
    """A table of texts.

    Attributes:
        title: of one of several tables of numbers; empty where what stands above says it.
        head: of the columns.
        rows: one text for each column, whose second line is a note on the first; a row of one text heads those below it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def select(self, *columns: str) -> TableBlock:
        """The table with these columns alone."""
        places = [self.head.index(column) for column in columns]
        rows = tuple(tuple(row[place] for place in places) if len(row) > 1 else row for row in self.rows)
        return replace(self, head=columns, rows=rows)

    def without_empty(self) -> TableBlock:
        """The table without the columns in which nothing stands."""
        cells = zip(self.head, zip(*self.rows, strict=True), strict=True)
        return self.select(*(head for head, column in cells if any(column)))


def make_table(title: str, items: Iterable[T], columns: dict[str, Callable[[T], str]]) -> TableBlock:
    """A table with a row for each item, by what every column says of it."""
    return TableBlock(title, tuple(columns), tuple(tuple(write(item) for write in columns.values()) for item in items))


def count_drops(drops: int) -> str:
    """'1 drop', '2 drops'."""
    return f"{drops} drop{'s' if drops > 1 else ''}"


def plain(*pieces: Piece, style: str = "") -> Text:
    """What all screens print: text of pieces, some in a style of their own. Nothing in it is markup or moves the cursor,
    since names, labels and texts of models are printed as they are."""
    texts = [(piece, "") if isinstance(piece, str) else piece for piece in pieces]
    return Text.assemble(*((text.translate(VISIBLE), piece_style) for text, piece_style in texts), style=style)


def print_line(console: Console, *pieces: Piece, style: str = "") -> None:
    """Print a line that only the terminal breaks."""
    console.print(plain(*pieces, style=style), highlight=False, soft_wrap=True)


def print_block(console: Console, block: TableBlock, folded: Collection[str] | None = None) -> None:
    """Print a table without lines: below its title, numbers to the right, and an empty line; or as it is.

    Where the console is too narrow for it, its rows stand below each other, a line for each column.

    Args:
        folded: the columns whose cells may be folded; by default intervals below a title, else the first column alone.
    """
    if folded is None:
        folded = [column for column in block.head if "[" in column] if block.title else block.head[:1]
    if block.title:
        print_line(console, block.title, style="bold")
    style, space = ("dim", 1) if block.title else ("bold", 2)
    if _measure_width(block, folded, space) > console.width:
        _print_rows_below_each_other(console, block)
    else:
        table = Table(box=None, pad_edge=False, header_style=style, padding=(0, space, 0, 0))
        for index, column in enumerate(block.head):
            side = "right" if block.title and index else "left"
            table.add_column(plain(column), no_wrap=column not in folded, overflow="fold", justify=side)  # type: ignore[arg-type]
        for row in block.rows:
            table.add_row(*(map(_mark_notes, row) if len(row) > 1 else (plain(row[0], style="dim"),)))
        console.print(table, highlight=False)
    if block.title:
        console.print()


def _measure_width(block: TableBlock, folded: Collection[str], space: int) -> int:
    """Characters that a table needs between the columns and in them; a folded column its longest word of usual length."""
    rows = [block.head, *(row for row in block.rows if len(row) > 1)]
    widths = []
    for head, cells in zip(block.head, zip(*rows, strict=True), strict=True):
        parts = [part for cell in cells for part in (cell.split() if head in folded else cell.split("\n"))]
        longest = max(map(cell_len, parts), default=0)
        widths.append(min(longest, LONG_WORD) if head in folded else longest)
    return sum(widths) + space * (len(widths) - 1)


def _print_rows_below_each_other(console: Console, block: TableBlock) -> None:
    """Print each row as its first cell and, below it, every other column and its cell."""
    first, *others = (f"{column}: " if column else "" for column in block.head)
    for row in block.rows:
        print_line(console, *((first, "dim"), (row[0], "bold")) if len(row) > 1 else ((row[0], "dim"),))
        for column, cell in zip(others, row[1:], strict=False):
            if cell:
                line = plain((column, "dim"), " ".join(cell.split("\n")))
                console.print(Padding(line, (0, 0, 0, 2)), highlight=False)


def _mark_notes(cell: str) -> Text:
    text, *notes = cell.split("\n")
    return plain(text, *(piece for note in notes for piece in ("\n", (note, "dim"))))
