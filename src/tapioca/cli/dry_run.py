"""What `tapioca prune --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from tapioca.report import words

if TYPE_CHECKING:
    from tapioca.flows.preview import Preview

LONG = 400
"""Characters of a text that is shown whole."""

SOON = 60
"""Seconds of a run that needs no advice on how to shorten it."""


def show_preview(found: Preview, console: Console) -> None:
    """Print the data, one prompt as text and as tokens, what the model writes, and the cost."""
    for data, check in found.checks.items():
        line = words.check_line(check, found.metric, data.upper(), found.sampled[data])
        _print(console, f"data      {escape(line)}")
        if balance := words.balance(check.labels):
            _print(console, f"          search {escape(balance)}")
        if check.above_chance is False:
            _print(
                console,
                "          [yellow]not above chance: accuracy cannot guide a search; use --score likelihood[/]",
            )
    _print(console, f"prompt    {escape(_by_ends(found.prompt))}")
    _show_tokens(found, console)
    for written in found.written:
        right = f" (right: {escape(_by_ends(written.gold))})" if written.gold else ""
        _print(console, f"writes    {escape(_by_ends(written.text))}{right}")
    _show_cost(found, console)
    _print(console, "nothing of this is kept; without --dry-run the run begins")


def _show_tokens(found: Preview, console: Console) -> None:
    """Print the first row as the model reads it, and what its outputs are compared with."""
    read, scored = words.by_ends(found.read), words.by_ends(found.scored)
    if found.head_labels is None:
        _print(console, f"tokens    {escape(read)} [bold]‖ {escape(scored)}[/]")
        _print(console, f"          {len(found.read)} tokens of prompt, {len(found.scored)} scored behind ‖")
        return
    _print(console, f"tokens    {escape(read)}")
    what = f", one of the head's {found.head_labels} labels" if found.head_labels else ""
    _print(console, f"          {len(found.read)} tokens of text; right answer: {escape(scored)}{what}")


def _show_cost(found: Preview, console: Console) -> None:
    """Print how long the run would take, and what would shorten it most."""
    work, duration = found.work, words.duration
    _print(
        console,
        f"cost      {found.criterion}: first round about {duration(work.first_round)}, all rounds "
        f"{'at most' if found.criterion == 'tale' else 'about'} {duration(work.all_rounds)} "
        f"({words.flops(found.flops)}), judging at most {duration(work.judging)} "
        f"({work.plans} plan{'s' if work.plans != 1 else ''} beside the full model); {found.memory / 2**30:.2f} GiB held now",
    )
    if found.shorter and work.total > SOON:
        _print(
            console,
            f"shorter   {found.shorter.option} helps most: {duration(found.shorter.total)} in all, not {duration(work.total)}",
        )


def _by_ends(text: str) -> str:
    """A text as one quoted line; a long one by its ends."""
    return repr(words.shorten(text, LONG))


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)
