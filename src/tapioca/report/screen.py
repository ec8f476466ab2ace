"""One screen for a run, and the progress display while it is made."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tapioca.records import RunInfo
from tapioca.report import format as words
from tapioca.report.tables import plain_table, print_line

ACTION_COLOURS = {"prune": "green", "prune OOD traffic only": "yellow", "keep the full model": "blue"}


ROLE_NOTES = {
    "most layers dropped": "most layers dropped at or above the full model's search score",
    "best non-empty": "the best plan that drops anything; shown for comparison",
}


class LiveScreen:
    """Shows what is going on, how far it is, how long it will take, and the best plan so far.

    Use it as a context manager around a recipe.
    """

    def __init__(self, console: Console):
        self.console = console
        self._best = ""
        self._task: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[best]}"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> LiveScreen:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def stage(self, what: str, total: int) -> None:
        """A new stage begins; the one before is taken off the screen."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total or None, best=self._best)

    def advance(self, steps: int) -> None:
        """Steps of the stage are done."""
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def best(self, text: str) -> None:
        """Keep the best result beside the bar."""
        self._best = f"best so far: {text}"

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        print_line(self.console, f"[dim]· {escape(text)}")


def show_data(task: str, reference: str | None, console: Console) -> None:
    """Say which data are meant by OOD and by ID."""
    print_line(console, f"[dim]· {escape(words.data_names(task, reference))}")


def show_run(info: RunInfo, console: Console) -> None:
    """Print a finished run on one screen."""
    show_data(info.task, info.reference, console)
    _show_verdict(info, console)
    for line in words.describe_companions(info):
        print_line(console, f"[dim]{escape(line)}")
    others = {entry.role: entry.plan for entry in info.judgements if entry.role != "best"}
    for role, plan in others.items():
        console.print(f"[dim]{plan}: {ROLE_NOTES[role]}", highlight=False)
    numbered = "" if info.plan.is_full else " (layers are numbered from 0)"
    console.print(f"\nplan      {info.plan}{numbered}", highlight=False)
    if not info.plan.is_full:
        console.print(f"saves     {words.describe_savings(info.cost, info.plan)}", highlight=False)
    _show_search(info, console)
    for line in _describe_geometry(info):
        console.print(line, highlight=False)
    if (examples := info.folder / "examples.jsonl").is_file():
        print_line(console, f"examples  {examples}: every held-out example under the full model and {info.shown}")
    console.print(f"report    {info.folder / 'report.html'}", highlight=False)


def _show_verdict(info: RunInfo, console: Console) -> None:
    """Print what to do and why, and the held-out results behind it."""
    verdict = info.verdict
    reason = escape(verdict.reason[:1].upper() + verdict.reason[1:]) + "."
    title = f"{verdict.action.upper()}{' (tail only)' if verdict.tail_only else ''}"
    console.print(Panel(reason, title=title, title_align="left", border_style=ACTION_COLOURS[verdict.action]))
    columns = ("data", "plan", info.metric.name, "change [95 % interval]", "random worse")
    table = plain_table(*columns, folded=[name for name in columns if not name.startswith("change")])
    for judgement in info.judgements:
        table.add_row(
            judgement.data.upper(),
            str(judgement.plan),
            words.format_scores(judgement),
            words.format_judged_effect(judgement),
            words.format_beaten(judgement),
        )
    console.print(table, highlight=False)


def _show_search(info: RunInfo, console: Console) -> None:
    """Print what was searched, and on how much data."""
    tied = sum(entry.ties > 1 for entry in info.rounds)
    ties = f"; equal scores decided {tied} of {len(info.rounds)} rounds" if tied else ""
    tested = " + ".join(f"{entry.result.n} {entry.data.upper()}" for entry in info.judgements if entry.role == "best")
    examples = f"{info.cost.plans_tried} plans on {info.cost.search_examples} search examples"
    print_line(console, f"search    {info.criterion}: {examples}{ties}; judged on {tested} held out")
    for line in filter(None, (words.describe_race_bound(info), words.describe_stacking(info.cost))):
        print_line(console, f"          {line}")


def _describe_geometry(info: RunInfo) -> list[str]:
    """Deviation of the OOD data before and after the plan, against the null, and how to read it."""
    lines = []
    for kind in ("norm", "distance"):
        ood = [deviation for deviation in info.deviations if (deviation.kind, deviation.data) == (kind, "ood")]
        deviation_by_planned = {deviation.planned: deviation for deviation in ood}
        if not deviation_by_planned:
            continue
        text = f"{deviation_by_planned[False].value:.3f}"
        if True in deviation_by_planned:
            text += f" → {deviation_by_planned[True].value:.3f} under {info.shown}"
        label = "geometry  OOD norm deviation" if kind == "norm" else "          OOD distance deviation"
        lines.append(f"{label} {text} (null {deviation_by_planned[False].null_upper:.3f})")
    if lines:
        lines.append("          0 is as on ID data; null: two ID samples deviate less in 95 % of cases")
    return lines
