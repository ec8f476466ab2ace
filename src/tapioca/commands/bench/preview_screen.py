"""What `tapioca bench --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from tapioca.commands.bench import words
from tapioca.report.format import format_duration
from tapioca.report.tables import print_line

if TYPE_CHECKING:
    from tapioca.commands.bench.preview import BenchPreview


def show(preview: BenchPreview, console: Console) -> None:
    """Print what would be timed, and how long that would take."""
    for note in preview.notes:
        print_line(console, f"· {note}", style="dim")
    for side in preview.sides:
        print_line(
            console,
            f"times     {side.label}: {side.n_layers} layers, {words.format_bytes(side.weight_bytes)} of weights held",
        )
    for cost in preview.costs:
        print_line(console, f"size      {cost.name}: about {words.format_seconds(cost.seconds_round)} a round")
    least, most = (preview.estimate_seconds(rounds) for rounds in (preview.least_rounds, preview.max_rounds))
    print_line(
        console,
        f"cost      {format_duration(least)} to {format_duration(most)}: {preview.least_rounds} to {preview.max_rounds} rounds of "
        f"each size, until intervals are {words.format_half_width(preview.precision)}",
    )
    print_line(console, "nothing of this is kept; without --dry-run the timing begins")
