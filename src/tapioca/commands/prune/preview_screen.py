"""What `tapioca prune --dry-run` prints."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from tapioca.report import format as words
from tapioca.report.tables import print_line

if TYPE_CHECKING:
    from tapioca.commands.prune.preview_result import Preview

MAX_SHOWN_CHARACTERS = 400
"""Characters of a text that is shown whole."""

SHORT_RUN_SECONDS = 60
"""Seconds of a run that needs no advice on how to shorten it."""


def show(preview: Preview, console: Console) -> None:
    """Print the data, one prompt as text and as tokens, what the model writes, and the cost."""
    for domain, check in preview.checks.items():
        line = words.describe_check(check, preview.metric, domain.upper())
        print_line(console, f"data      {line}")
        if balance := words.format_label_counts(check.labels):
            print_line(console, f"          search {balance}")
        if check.above_chance is False:
            advice = "not above chance: accuracy cannot guide a search; use --score likelihood"
            print_line(console, " " * 10, (advice, "yellow"))
    print_line(console, f"prompt    {_quote_by_ends(preview.prompt)}")
    _show_tokens(preview, console)
    for written in preview.written:
        right = f" (right: {_quote_by_ends(written.gold)})" if written.gold else ""
        print_line(console, f"writes    {_quote_by_ends(written.text)}{right}")
    _show_cost(preview, console)
    print_line(console, "nothing of this is kept; without --dry-run the run begins")


def _show_tokens(preview: Preview, console: Console) -> None:
    """Print the first row as the model reads it, and what its outputs are compared with."""
    read, scored = words.join_by_ends(preview.n_read), words.join_by_ends(preview.scored)
    if preview.head_labels is None:
        print_line(console, f"tokens    {read} ", (f"‖ {scored}", "bold"))
        print_line(console, f"          {len(preview.n_read)} tokens of prompt, {len(preview.scored)} scored behind ‖")
        return
    print_line(console, f"tokens    {read}")
    head_text = f", one of the head's {preview.head_labels} labels" if preview.head_labels else ""
    print_line(console, f"          {len(preview.n_read)} tokens of text; right answer: {scored}{head_text}")


def _show_cost(preview: Preview, console: Console) -> None:
    """Print how long the run would take, and what would shorten it most."""
    estimate, duration = preview.work, words.format_duration
    print_line(
        console,
        f"cost      {preview.criterion}: first round about {duration(estimate.first_round)}, all rounds "
        f"{'at most' if preview.criterion == 'tale' else 'about'} {duration(estimate.all_rounds)} "
        f"({words.format_flops(preview.flops)}), judging at most {duration(estimate.judging)} "
        f"({estimate.judged.plans} plan{'s' if estimate.judged.plans != 1 else ''} beside the full model); {preview.peak_memory / 2**30:.2f} GiB held now",
    )
    if preview.shortlist:
        whole = replace(estimate, rounds=preview.whole_rounds).all_rounds
        print_line(
            console,
            f"shortlist {preview.shortlist} drops a round, ranked by gradients first: all rounds at most "
            f"{duration(estimate.all_rounds)}, not {duration(whole)}",
        )
    if preview.shorter and estimate.total > SHORT_RUN_SECONDS:
        print_line(
            console,
            f"shorter   {preview.shorter.option} helps most: {duration(preview.shorter.total)} in all, not {duration(estimate.total)}",
        )


def _quote_by_ends(text: str) -> str:
    """A text as one quoted line; a long one by its ends."""
    return repr(words.shorten_text(text, MAX_SHOWN_CHARACTERS))
