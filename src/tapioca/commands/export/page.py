"""A checkpoint that was written and checked, on the screen."""

from rich.console import Console

from tapioca.commands.export.result import Exported
from tapioca.report.tables import print_line
from tapioca.runs.rows import SEEN_ROWS


def show(exported: Exported, console: Console) -> None:
    """Print where the checkpoint is, how it was checked, and what it lacks."""
    steps = f", {exported.steps} cached steps" if exported.steps else ""
    with_what = f"transformers with {exported.needs}" if exported.needs else "plain transformers"
    plan = exported.plan
    again = f", {len(plan.order) - len(plan.kept)} of them twice" if plan.repeats else ""
    lines = [
        f"wrote     {exported.folder}: {len(plan.kept)} of {plan.n_layers} layers{again} ({plan})",
        f"checked   reloaded by {with_what} in a fresh process: one forward{steps}; "
        f"largest difference {exported.difference:.3g}",
        *(
            [f"rows      {exported.seen_rows} that it was searched or tuned on, by digests in {SEEN_ROWS}"]
            if exported.seen_rows
            else []
        ),
        *(f"left out  {sentence}" for sentence in exported.left_out),
    ]
    for line in lines:
        print_line(console, line)
