"""How the texts ended that a model wrote under several plans, since a plan can win by that alone."""

from collections.abc import Iterable

from rich.console import Console

from tapioca.plan import Plan
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.report.tables import TableBlock, print_block

HEADER = ("written answers", "data", "no answer in", "broke off", "mean tokens")

HeldOutGains = Iterable[tuple[Plan, Domain, Gain | None]]
"""Plans, the data they were judged on, and what they change over the full model there; None where nothing is known."""


def tabulate_written(judged: HeldOutGains) -> TableBlock:
    """A row for the full model and for each plan that wrote: OOD data first."""
    rows: dict[tuple[str, str], tuple[str, ...]] = {}
    for plan, data, gain in judged:
        if gain is None or gain.written is None:
            continue
        written = gain.written
        for index, name in enumerate((str(Plan.full(plan.n_layers)), str(plan))):
            shares = (f"{counts[index] / gain.n:.0%}" for counts in (written.unparsed, written.truncated))
            length = f"{written.mean_length[index]:.3g}"
            rows.setdefault((data, name), (name, data.upper(), *shares, length))
    return TableBlock("", HEADER, tuple(sorted(rows.values(), key=lambda row: row[1] != "OOD")))


def show_written(judged: HeldOutGains, console: Console) -> None:
    """Print this table; nothing where no texts were written."""
    table = tabulate_written(judged)
    if table.rows:
        print_block(console, table, folded=HEADER)
        console.print()
