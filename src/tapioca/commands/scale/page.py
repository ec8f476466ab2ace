"""A dose-response on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path

import altair as alt
from rich.console import Console
from rich.table import Table

from tapioca.commands.scale.charts import draw_responses, draw_score_by_deviation
from tapioca.commands.scale.result import Change, Curve, Outcome, ScaleResult, Trend
from tapioca.records import PROFILE_NAMES, Estimate, Metric, signed_interval, with_interval
from tapioca.report.screen import show_data
from tapioca.report.tables import plain_table, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, written_rows

AS_STRONG = (
    "random as strong: share of the random sets, with the chosen one among them, whose correlation or change has the same "
    "sign and is at least as large; small where the chosen layers do more than random ones"
)
DEVIATIONS: dict[Outcome, str] = {kind: f"{kind} deviation" for kind in PROFILE_NAMES}


def draw_charts(info: ScaleResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"response": draw_responses(info)} | ({"together": draw_score_by_deviation(info)} if info.observed else {})


def write_page(info: ScaleResult) -> Path:
    """Write `report.html` into the folder of a sweep of scales and return its path."""
    return write_record_page(
        "tapioca.commands.scale",
        info,
        draw_charts(info),
        column=format_score,
        deviation=format_deviation,
        pair=name_trend_pair,
        rho=format_rho,
        moved=describe_change,
        share=format_share,
        written=written_rows(judged_plans(info)),
    )


def judged_plans(info: ScaleResult) -> HeldOutGains:
    """Every scale of the chosen layers, and of all, with what it changes."""
    doses = [dose for curve in (info.chosen, info.every) for dose in curve.doses]
    return [(dose.plan, *result) for dose in doses for result in (("ood", dose.gain), ("id", dose.id_gain))]


def format_score(metric: Metric, score: Estimate | None) -> str:
    """A mean score with its interval: '41.2 % [39.0, 43.5]', or '0.0344 [0.0321, 0.0367]'."""
    if score is None:
        return "–"
    low, high = sorted(metric.to_display(end) for end in score.ci95)
    if metric.kind == "accuracy":
        return f"{100 * score.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    return with_interval(metric.to_display(score.value), (low, high), "#.3g")


def format_deviation(estimate: Estimate | None) -> str:
    """A deviation with its interval."""
    return "–" if estimate is None else with_interval(estimate.value, estimate.ci95)


def name_trend_pair(info: ScaleResult, trend: Trend) -> str:
    """Which two columns a trend is of."""
    first = "α" if trend.x == "alpha" else _score_name(info)
    return f"{first} and {DEVIATIONS.get(trend.y, _score_name(info))}"


def format_rho(trend: Trend) -> str:
    """A rank correlation with its interval."""
    return signed_interval(trend.rho, trend.ci95, 2)


def describe_change(info: ScaleResult, change: Change) -> str:
    """What an outcome changes by at the smallest scale: 'OOD accuracy +2.1 points [+0.4, +3.8]'."""
    if change.y != "score":
        return f"{DEVIATIONS[change.y]} {signed_interval(change.value, change.ci95, 3)}"
    return f"OOD {info.metric.name} {info.chosen.doses[0].gain}"


def format_share(as_strong: float | None) -> str:
    """How often random sets are as strong, as a p-value."""
    return "–" if as_strong is None else f"{as_strong:#.2g}"


def show(info: ScaleResult, console: Console) -> None:
    """Print a dose-response: every scale of the chosen layers, then trends beside those of random layers."""
    show_data(info.task, info.reference, console)
    console.print(f"[bold]{info.chosen.description}[/]: at 0 {info.chosen.drops}, at 1 the full model", highlight=False)
    console.print(_tabulate_doses(info, info.chosen), highlight=False)
    print_line(console, f"[dim]{explain_scale(info)}\n")
    show_written(judged_plans(info), console)
    table = plain_table("rank correlation of", "for α", "ρ [95 %]", "p", "random as strong")
    for trend in info.chosen.trends:
        p = "<0.01" if trend.p < 0.01 else f"{trend.p:.2f}"
        cells = f"{trend.first:g}–{trend.last:g}", format_rho(trend), p, format_share(trend.as_strong)
        table.add_row(name_trend_pair(info, trend), *cells)
    console.print(table, highlight=False)
    print_line(console, f"[dim]{AS_STRONG}")
    for change in info.chosen.changes:
        random_note = f"; random as strong {format_share(change.as_strong)}" if change.as_strong is not None else ""
        what = f"from α = 1 to {info.scales[0]:g}: {describe_change(info, change)}{random_note}"
        print_line(console, f"[dim]{what}")
    print_line(console, f"\nreport    {info.folder / 'report.html'}")


def explain_scale(info: ScaleResult) -> str:
    """How to read the table of scales."""
    held = f"{info.examples['ood']} OOD" + (f" and {info.examples['id']} ID" if "id" in info.examples else "")
    better = "higher" if info.metric.kind == "accuracy" else "lower"
    text = f"{info.metric.name} on {held} test examples, {better} is better; intervals resample groups."
    if not info.observed:
        return f"{text} No --reference, so no deviations."
    nulls = ", ".join(f"{DEVIATIONS[kind]} {percentile:.3f}" for kind, percentile in info.null.items())
    return (
        f"{text} Deviations: {info.observed} OOD prompts under the plan against {info.observed} ID prompts under the full "
        f"model, after the layers kept at 0; 0 is as on ID data, between two ID samples 95 % are below: {nulls}."
    )


def _score_name(info: ScaleResult) -> str:
    """The score of trends, which is higher where it is better."""
    return f"OOD {info.metric.name}" if info.metric.kind == "accuracy" else f"−OOD {info.metric.name}"


def _tabulate_doses(info: ScaleResult, curve: Curve) -> Table:
    name = info.metric.name
    columns = [f"OOD {name} [95 %]", *([f"ID {name}"] if "id" in info.examples else [])]
    table = plain_table("α", *columns, *(("norm dev.", "distance dev.") if info.observed else ()))
    table.columns[0].no_wrap = True
    for dose in curve.doses:
        cells = [format_score(info.metric, dose.score)]
        cells += [info.metric.format(dose.id_score.value)] if dose.id_score else []
        cells += [f"{estimate.value:.3f}" for estimate in (dose.norm, dose.distance) if estimate]
        table.add_row(f"{dose.scale:g}", *cells, style="bold" if dose.scale == 1 else None)
    return table
