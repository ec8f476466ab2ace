"""All plans of a model on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from tapioca.commands.compare.page import format_effect
from tapioca.commands.enumerate.result import Correlation, EnumerateResult, RankedPlan, SizeOfSpace
from tapioca.commands.geometry.tables import KINDS
from tapioca.records import Metric, signed, signed_interval
from tapioca.report import format as words
from tapioca.report.figures import COLOURS, DARK, FULL_WIDTH, GREY, HEIGHT, WIDTH
from tapioca.report.screen import show_data
from tapioca.report.tables import plain_table, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, written_rows

GREEDY, ORACLE = "greedy", "oracle"
GOLDEN_RATIO = 0.618033988749895
"""Multiples of the golden ratio spread points of one size evenly, in an order that shows no pattern."""


def draw_charts(info: EnumerateResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"sizes": draw_sizes(info), **({"realignment": draw_realignment(info)} if info.sample else {})}


def write_page(info: EnumerateResult) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    return write_record_page(
        "tapioca.commands.enumerate",
        info,
        draw_charts(info),
        words=words,
        effect=format_effect,
        gained=format_gain,
        correlated=format_correlation,
        written=written_rows(judged_plans(info)),
    )


def show(info: EnumerateResult, console: Console) -> None:
    """Print what was found: for each number of drops the oracle's and greedy's plans, then all plans."""
    show_data(info.task, info.reference, console)
    unit = "error ×" if info.metric.kind == "error" else "points"
    table = plain_table("plan", f"OOD {unit} [95 %]", f"ID {unit} [95 %]", "better plans")
    for size in info.sizes:
        table.add_row(f"[dim]{size.drops} drop{'s' if size.drops > 1 else ''}")
        for placed, who in placed_by_chooser(size):
            cells = format_effect(placed.ood), format_effect(placed.id), f"{placed.better} of {size.plans}"
            table.add_row(f"{placed.plan}\n[dim]{who}[/]", *cells)
        if size.oracle.plan != size.greedy.plan:
            table.add_row("[dim]oracle against greedy[/]", format_effect(size.regret))
    console.print(table, highlight=False)
    print_line(console, f"[dim]{explain_space(info)}\n")
    show_written(judged_plans(info), console)
    spread = plain_table("drops", "plans", "worst", "median", "best")
    for size in info.sizes:
        least, _, middle, _, most = (format_gain(gain, info.metric) for gain in size.gain_quantiles)
        spread.add_row(str(size.drops), str(size.plans), least, middle, most)
    console.print(spread, highlight=False)
    if info.sample:
        rho = plain_table("drops", *(f"{kind} ρ [95 %], p" for kind in KINDS))
        for size in info.sizes:
            rho.add_row(str(size.drops), *(format_correlation(size, kind) for kind in KINDS))
        console.print()
        console.print(rho, highlight=False)
        print_line(console, "[dim]ρ: rank correlation of realignment with OOD test gain, over all plans of a size")
    print_line(console, f"\nreport    {info.folder / 'report.html'}")


def placed_by_chooser(size: SizeOfSpace) -> list[tuple[RankedPlan, str]]:
    """The plans chosen of one size, and who chose them."""
    if size.oracle.plan == size.greedy.plan:
        return [(size.oracle, "oracle and greedy")]
    return [(size.oracle, ORACLE), (size.greedy, GREEDY)]


def judged_plans(info: EnumerateResult) -> HeldOutGains:
    """The plans chosen of every size with what they change."""
    plans = [placed for size in info.sizes for placed, _ in placed_by_chooser(size)]
    return [(placed.plan, *result) for placed in plans for result in (("ood", placed.ood), ("id", placed.id))]


def format_gain(gain: float, metric: Metric) -> str:
    """A gain as people read it: a multiple of the error, or points."""
    return f"×{1 - gain:#.3g}".rstrip(".") if metric.kind == "error" else signed(100 * gain, 1)


def format_correlation(size: SizeOfSpace, kind: str) -> str:
    """A rank correlation with its interval over examples and its p-value."""
    correlation = _find_correlation(size, kind)
    if correlation is None:
        return "–"
    return f"{signed_interval(correlation.value, correlation.ci95, 2)}, {words.p_value(correlation.p)}"


def explain_space(info: EnumerateResult) -> str:
    """How to read the table of plans."""
    judged = info.sizes[0].oracle
    held = f"{judged.ood.n} OOD" + (f" and {judged.id.n} ID" if judged.id else "")
    better = "below 1 is better" if info.metric.kind == "error" else "above 0 is better"
    return (
        f"{info.metric.name} on {held} examples held out, against the full model; {better}. Oracle: best of all plans of "
        "its size on the search split. Better plans: of its size, with a higher OOD test score. Worst and best are read off "
        "the test split, so they describe all plans and are no results of choosing."
    )


def draw_sizes(info: EnumerateResult) -> alt.TopLevelMixin:
    """Held-out OOD effect of every plan by the number of drops, with the oracle's and greedy's plans marked."""
    error = info.metric.kind == "error"
    dots = [
        {"drops": len(plan.drops) + 0.6 * (index * GOLDEN_RATIO % 1 - 0.5), "effect": info.metric.effect(plan.ood)}
        for index, plan in enumerate(info.plans)
    ]
    marks = [
        {"drops": size.drops, "effect": info.metric.effect(placed.ood.gain), "who": who}
        for size in info.sizes
        for placed, who in ((size.oracle, ORACLE), (size.greedy, GREEDY))
    ]
    x = alt.X(
        "drops:Q",
        title="layers dropped",
        axis=alt.Axis(values=[size.drops for size in info.sizes], format="d"),
        scale=alt.Scale(domain=[0.5, info.sizes[-1].drops + 0.5], nice=False),
    )
    y = _effect_axis("effect", error, test=True)
    colours = alt.Scale(domain=[ORACLE, GREEDY], range=[COLOURS["ID"], COLOURS["OOD"]])
    shapes = alt.Scale(domain=[ORACLE, GREEDY], range=["diamond", "circle"])
    colour = alt.Color("who:N", title=None, sort=None, scale=colours)
    shape = alt.Shape("who:N", title=None, sort=None, scale=shapes)
    cloud = alt.Chart(alt.Data(values=dots)).mark_point(color=GREY, filled=True, size=16, opacity=0.7).encode(x=x, y=y)
    base = alt.Chart(alt.Data(values=marks)).encode(x=x, y=y, color=colour)
    line = base.mark_line(strokeWidth=1.5)
    point = base.mark_point(size=80, strokeWidth=2, opacity=1).encode(shape=shape)
    full = alt.Chart(alt.Data(values=[{"effect": info.metric.effect(0)}])).mark_rule(color=DARK).encode(y=y)
    return alt.layer(cloud, full, line, point).properties(width=FULL_WIDTH, height=HEIGHT + 70)


def draw_realignment(info: EnumerateResult) -> alt.TopLevelMixin:
    """Realignment of every plan against its held-out OOD effect: a row for each number of drops, norm and distance."""
    panels = [_draw_realignment_panel(info, size, kind) for size in info.sizes for kind in KINDS]
    return alt.concat(*panels, columns=2)


def _draw_realignment_panel(info: EnumerateResult, size: SizeOfSpace, kind: str) -> Any:
    error = info.metric.kind == "error"
    plans = [plan for plan in info.plans if len(plan.drops) == size.drops]
    rows = [{"realignment": getattr(plan, kind), "effect": info.metric.effect(plan.ood)} for plan in plans]
    correlation = _find_correlation(size, kind)
    rho = f": ρ = {signed(correlation.value, 2)}" if correlation else ""
    title = f"{size.drops} drop{'s' if size.drops > 1 else ''}, {kind}{rho}"
    axis = alt.Axis(format="~g", tickCount=5)
    x = alt.X("realignment:Q", title="realignment", axis=axis, scale=alt.Scale(zero=False))
    y = _effect_axis("effect", error, test=False)
    points = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=18, opacity=0.6, color=COLOURS["OOD"])
    none = alt.Chart(alt.Data(values=[{"effect": info.metric.effect(0)}])).mark_rule(color=DARK).encode(y=y)
    still = alt.Chart(alt.Data(values=[{"realignment": 0}])).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=x)
    return alt.layer(none, still, points.encode(x=x, y=y)).properties(width=WIDTH - 50, height=150, title=title)


def _find_correlation(size: SizeOfSpace, kind: str) -> Correlation | None:
    return next((correlation for correlation in size.correlations if correlation.kind == kind), None)


def _effect_axis(field: str, error: bool, test: bool) -> alt.Y:
    """The axis of effects; with `test` it says that they are of the test split."""
    title = "OOD error, × full model's" if error else "OOD gain"
    scale = alt.Scale(type="log", nice=False, padding=8) if error else alt.Scale(zero=False, padding=8)
    axis = alt.Axis(format="~g", tickCount=5) if error else alt.Axis(format="+.0%", tickCount=5)
    return alt.Y(f"{field}:Q", title=f"{title}, test split" if test else title, scale=scale, axis=axis)
