"""A dose-response on one screen and on one self-contained page."""

from collections.abc import Callable
from pathlib import Path

import altair as alt
from rich.console import Console

from tapioca.commands.scale.charts import draw_responses, draw_score_by_deviation
from tapioca.commands.scale.result import Curve, Dose, Outcome, ScaleResult, Trend
from tapioca.records import PROFILE_NAMES, Estimate, Gain, Metric, with_interval
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, print_block, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, tabulate_written

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
    return write_record_page(__name__, info, written=tabulate_written(judged_plans(info)))


def judged_plans(info: ScaleResult) -> HeldOutGains:
    """Every scale of the chosen layers, and of all, with what it changes."""
    doses = [dose for curve in (info.chosen, info.every) for dose in curve.doses]
    return [(dose.plan, *result) for dose in doses for result in (("ood", dose.gain), ("id", dose.id_gain))]


def format_score(metric: Metric, score: Estimate | None) -> str:
    """A mean score with its interval: '41.2 % [39.0, 43.5]', or '0.0344 [0.0321, 0.0367]'."""
    if score is None:
        return ""
    low, high = sorted(metric.to_display(end) for end in score.ci95)
    if metric.kind == "accuracy":
        return with_interval(100 * score.value, (100 * low, 100 * high), ".1f", " %")
    return with_interval(metric.to_display(score.value), (low, high), "#.3g")


def format_deviation(estimate: Estimate | None) -> str:
    """A deviation with its interval; empty where none was measured."""
    return "" if estimate is None else with_interval(estimate.value, estimate.ci95)


def name_trend_pair(info: ScaleResult, trend: Trend) -> str:
    """Which two columns a trend is of."""
    first = "α" if trend.x == "alpha" else _score_name(info)
    return f"{first} and {DEVIATIONS.get(trend.y, _score_name(info))}"


def describe_changes(info: ScaleResult) -> list[str]:
    """What each outcome changes by at the smallest scale: 'OOD accuracy: +2.1 points [+0.4, +3.8]'."""
    lines = []
    for change in info.chosen.changes:
        if change.y == "score":
            line = f"OOD {info.metric.name}: {info.chosen.doses[0].gain}"
        else:
            line = f"{DEVIATIONS[change.y]} {with_interval(change.value, change.ci95, '+.3f')}"
        strong = f"; random as strong {format_share(change.as_strong)}" if change.as_strong is not None else ""
        lines.append(f"from α = 1 to {info.scales[0]:g}: {line}{strong}")
    return lines


def format_share(as_strong: float | None) -> str:
    """How often random sets are as strong, as a p-value."""
    return "–" if as_strong is None else f"{as_strong:#.2g}"


def show(info: ScaleResult, console: Console) -> None:
    """Print a dose-response: every scale of the chosen layers, then trends beside those of random layers."""
    show_data(info, console)
    print_line(console, (info.chosen.description, "bold"), f": at 0 {info.chosen.drops}, at 1 the full model")
    print_block(console, tabulate_doses_shortly(info), folded=())
    print_line(console, f"{explain_scale(info)}\n", style="dim")
    show_written(judged_plans(info), console)
    trends = tabulate_trends(info)
    print_block(console, trends.select(*trends.head[:-1]))
    for line in (AS_STRONG, *describe_changes(info)):
        print_line(console, line, style="dim")
    console.print()
    show_page(info, console)


def tabulate_doses(info: ScaleResult, curve: Curve) -> TableBlock:
    """Every scale of some layers, against the full model."""

    def versus_full(dose: Dose, gain: Gain | None) -> str:
        return "" if gain is None else "–" if dose.scale == 1 else str(gain)

    columns: dict[str, Callable[[Dose], str]] = {
        "α": lambda dose: f"{dose.scale:g}",
        f"OOD {info.metric.name} [95 %]": lambda dose: format_score(info.metric, dose.score),
        "OOD against α = 1": lambda dose: versus_full(dose, dose.gain),
        f"ID {info.metric.name} [95 %]": lambda dose: format_score(info.metric, dose.id_score),
        "ID against α = 1": lambda dose: versus_full(dose, dose.id_gain),
        "norm deviation [95 %]": lambda dose: format_deviation(dose.norm),
        "distance deviation [95 %]": lambda dose: format_deviation(dose.distance),
    }
    return make_table("", curve.doses, columns).without_empty()


def tabulate_doses_shortly(info: ScaleResult) -> TableBlock:
    """Every scale of the chosen layers, as much of it as a screen has room for."""
    columns: dict[str, Callable[[Dose], str]] = {
        "α": lambda dose: f"{dose.scale:g}",
        f"OOD {info.metric.name} [95 %]": lambda dose: format_score(info.metric, dose.score),
        f"ID {info.metric.name}": lambda dose: info.metric.format(dose.id_score.value) if dose.id_score else "",
        "norm dev.": lambda dose: format_deviation(dose.norm).partition(" ")[0],
        "distance dev.": lambda dose: format_deviation(dose.distance).partition(" ")[0],
    }
    return make_table("", info.chosen.doses, columns).without_empty()


def tabulate_trends(info: ScaleResult) -> TableBlock:
    """How scores and deviations go with the scale and with one another; last, the same trend of all layers."""

    def rho(trend: Trend | None) -> str:
        return "–" if trend is None else with_interval(trend.rho, trend.ci95, "+.2f")

    columns: dict[str, Callable[[Trend], str]] = {
        "rank correlation of": lambda trend: name_trend_pair(info, trend),
        "for α": lambda trend: f"{trend.first:g}–{trend.last:g}",
        "ρ [95 %]": rho,
        "p": lambda trend: "<0.01" if trend.p < 0.01 else f"{trend.p:.2f}",
        "random as strong": lambda trend: format_share(trend.as_strong),
        f"{info.all_of}: ρ [95 %]": lambda trend: rho(info.every.find_trend(trend.x, trend.y, trend.last)),
    }
    return make_table("", info.chosen.trends, columns)


def explain_scale(info: ScaleResult) -> str:
    """How to read the table of scales."""
    n_held_out = f"{info.examples['ood']} OOD" + (f" and {info.examples['id']} ID" if "id" in info.examples else "")
    better = "higher" if info.metric.kind == "accuracy" else "lower"
    text = f"{info.metric.name} on {n_held_out} test examples, {better} is better; intervals resample groups."
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
