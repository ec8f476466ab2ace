"""What `tapioca prune --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from tapioca.report import words

if TYPE_CHECKING:
    from tapioca.flows.preview import Preview


def show_preview(found: Preview, console: Console) -> None:
    """Print the data, one prompt as text and as tokens, and the cost."""
    for data, check in found.checks.items():
        console.print(f"data      {words.check_line(check, found.metric, data.upper())}", highlight=False)
        if balance := words.balance(check.labels):
            console.print(f"          search {balance}", highlight=False)
        if check.above_chance is False:
            console.print(
                "          [yellow]not above chance: accuracy cannot guide a search; use --score likelihood[/]",
                highlight=False,
            )
    console.print(f"prompt    {escape(repr(found.prompt))}", highlight=False)
    read, scored = " ".join(found.read), " ".join(found.scored)
    console.print(f"tokens    {escape(read)} [bold]‖ {escape(scored)}[/]", highlight=False)
    console.print(f"          {len(found.read)} tokens of prompt, {len(found.scored)} scored behind ‖", highlight=False)
    console.print(
        f"cost      {found.criterion}: first round about {words.duration(found.first_round)}, all rounds "
        f"{'at most' if found.criterion == 'tale' else 'about'} {words.duration(found.all_rounds)} "
        f"({words.quantity(found.flops)}FLOP), judging {words.duration(found.judging)}; "
        f"{found.memory / 2**30:.2f} GiB held now",
        highlight=False,
    )
    console.print(
        f"stored    in {found.folder}; the same command without --dry-run goes on from there", highlight=False
    )
