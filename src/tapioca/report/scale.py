"""A dose-response on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path

import altair as alt
from rich.console import Console
from rich.table import Table

from tapioca.records import Change, Curve, Estimate, Metric, ScaleInfo, Trend, signed_interval
from tapioca.report.curves import response_chart, together_chart
from tapioca.report.screen import show_data
from tapioca.report.template import rendered, write_report
from tapioca.report.written import Judged, show_written, written_rows

AS_STRONG = (
    "random as strong: share of the random sets, with the chosen one among them, whose correlation or change has the same "
    "sign and is at least as large; small where the chosen layers do more than random ones"
)
DEVIATIONS = {"norm": "norm deviation", "distance": "distance deviation"}


def write_scale_page(info: ScaleInfo) -> Path:
    """Write `report.html` into the folder of a sweep of scales and return its path."""
    return write_report(info.folder, render(info))


def draw_charts(info: ScaleInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"response": response_chart(info)} | ({"together": together_chart(info)} if info.observed else {})


def render(info: ScaleInfo) -> str:
    """The page as text."""
    return rendered(
        "scale.html.j2",
        info,
        draw_charts(info),
        column=column,
        deviation=deviation,
        pair=pair,
        rho=rho,
        moved=moved,
        share=share,
        written=written_rows(judged_plans(info)),
    )


def judged_plans(info: ScaleInfo) -> Judged:
    """Every scale of the chosen layers, and of all, with what it changes."""
    doses = [dose for curve in (info.chosen, info.every) for dose in curve.doses]
    return [(dose.plan, *result) for dose in doses for result in (("ood", dose.gain), ("id", dose.id_gain))]


def column(metric: Metric, found: Estimate | None) -> str:
    """A mean score with its interval: '41.2 % [39.0, 43.5]', or '0.0344 [0.0321, 0.0367]'."""
    if found is None:
        return "–"
    low, high = sorted(metric.shown(end) for end in found.ci95)
    if metric.kind == "accuracy":
        return f"{100 * found.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{metric.shown(found.value):#.3g} [{low:#.3g}, {high:#.3g}]"


def deviation(found: Estimate | None) -> str:
    """A deviation with its interval."""
    return "–" if found is None else f"{found.value:.3f} [{found.ci95[0]:.3f}, {found.ci95[1]:.3f}]"


def pair(info: ScaleInfo, found: Trend) -> str:
    """Which two columns a trend is of."""
    first = "α" if found.x == "alpha" else _score(info)
    return f"{first} and {DEVIATIONS.get(found.y, _score(info))}"


def rho(found: Trend) -> str:
    """A rank correlation with its interval."""
    return signed_interval(found.rho, found.ci95, 2)


def moved(info: ScaleInfo, found: Change) -> str:
    """What an outcome changes by at the smallest scale: 'OOD accuracy +2.1 points [+0.4, +3.8]'."""
    if found.y != "score":
        return f"{DEVIATIONS[found.y]} {signed_interval(found.value, found.ci95, 3)}"
    first = info.chosen.doses[0]
    return f"OOD {info.metric.name} {first.gain}"


def share(as_strong: float | None) -> str:
    """How often random sets are as strong, as a p-value."""
    return "–" if as_strong is None else f"{as_strong:#.2g}"


def show_scale(info: ScaleInfo, console: Console) -> None:
    """Print a dose-response: every scale of the chosen layers, then trends beside those of random layers."""
    show_data(info.task, info.reference, console)
    console.print(f"[bold]{info.chosen.what}[/]: at 0 {info.chosen.drops}, at 1 the full model", highlight=False)
    console.print(_doses(info, info.chosen), highlight=False)
    console.print(f"[dim]{reading(info)}\n", highlight=False, soft_wrap=True)
    show_written(judged_plans(info), console)
    table = _table("rank correlation of", "for α", "ρ [95 %]", "p", "random as strong")
    for found in info.chosen.trends:
        p = "<0.01" if found.p < 0.01 else f"{found.p:.2f}"
        table.add_row(pair(info, found), f"{found.first:g}–{found.last:g}", rho(found), p, share(found.as_strong))
    console.print(table, highlight=False)
    console.print(f"[dim]{AS_STRONG}", highlight=False, soft_wrap=True)
    for change in info.chosen.changes:
        beside = f"; random as strong {share(change.as_strong)}" if change.as_strong is not None else ""
        low = info.alphas[0]
        console.print(f"[dim]from α = 1 to {low:g}: {moved(info, change)}{beside}", highlight=False, soft_wrap=True)
    console.print(f"\nreport    {info.folder / 'report.html'}", highlight=False, soft_wrap=True)


def reading(info: ScaleInfo) -> str:
    """How to read the table of scales."""
    held = f"{info.examples['ood']} OOD" + (f" and {info.examples['id']} ID" if "id" in info.examples else "")
    better = "higher" if info.metric.kind == "accuracy" else "lower"
    text = f"{info.metric.name} on {held} test examples, {better} is better; intervals resample groups."
    if not info.observed:
        return f"{text} No --reference, so no deviations."
    nulls = ", ".join(f"{DEVIATIONS[kind]} {value:.3f}" for kind, value in info.null.items())
    return (
        f"{text} Deviations: {info.observed} OOD prompts under the plan against {info.observed} ID prompts under the full "
        f"model, after the layers kept at 0; 0 is as on ID data, between two ID samples 95 % are below: {nulls}."
    )


def _score(info: ScaleInfo) -> str:
    """The score of trends, which is higher where it is better."""
    return f"OOD {info.metric.name}" if info.metric.kind == "accuracy" else f"−OOD {info.metric.name}"


def _doses(info: ScaleInfo, curve: Curve) -> Table:
    name = info.metric.name
    columns = [f"OOD {name} [95 %]", *([f"ID {name}"] if "id" in info.examples else [])]
    table = _table("α", *columns, *(("norm dev.", "distance dev.") if info.observed else ()))
    table.columns[0].no_wrap = True
    for dose in curve.doses:
        cells = [column(info.metric, dose.score)]
        cells += [info.metric.format(dose.id_score.value)] if dose.id_score else []
        cells += [f"{found.value:.3f}" for found in (dose.norm, dose.distance) if found]
        table.add_row(f"{dose.alpha:g}", *cells, style="bold" if dose.alpha == 1 else None)
    return table


def _table(first: str, *others: str) -> Table:
    """A table without lines."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in (first, *others):
        table.add_column(name, no_wrap=name != first)
    return table
