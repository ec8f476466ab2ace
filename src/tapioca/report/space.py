"""All plans of a model on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from tapioca.records import Correlation, Metric, Placed, SizeOfSpace, SpaceInfo, signed, signed_interval
from tapioca.report import words
from tapioca.report.compare import effect, plain_table
from tapioca.report.figures import COLOURS, DARK, FULL_WIDTH, GREY, HEIGHT, WIDTH
from tapioca.report.geometry import KINDS
from tapioca.report.screen import show_data
from tapioca.report.template import rendered, write_report
from tapioca.report.written import Judged, show_written, written_rows

GREEDY, ORACLE = "greedy", "oracle"
GOLDEN = 0.618033988749895
"""Multiples of the golden ratio spread points of one size evenly, in an order that shows no pattern."""


def write_space_page(info: SpaceInfo) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    return write_report(info.folder, render(info))


def draw_charts(info: SpaceInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"sizes": sizes_chart(info), **({"realignment": realignment_chart(info)} if info.sample else {})}


def render(info: SpaceInfo) -> str:
    """The page as text."""
    return rendered(
        "space.html.j2",
        info,
        draw_charts(info),
        words=words,
        effect=effect,
        gained=gained,
        correlated=correlated,
        written=written_rows(judged_plans(info)),
    )


def show_space(info: SpaceInfo, console: Console) -> None:
    """Print what was found: for each number of drops the oracle's and greedy's plans, then all plans."""
    show_data(info.task, info.reference, console)
    unit = "error ×" if info.metric.kind == "error" else "points"
    table = plain_table("plan", f"OOD {unit} [95 %]", f"ID {unit} [95 %]", "better plans")
    for size in info.sizes:
        table.add_row(f"[dim]{size.drops} drop{'s' if size.drops > 1 else ''}")
        for placed, who in chosen(size):
            judged = effect(placed.ood), effect(placed.id), f"{placed.better} of {size.plans}"
            table.add_row(f"{placed.plan}\n[dim]{who}[/]", *judged)
        if size.oracle.plan != size.greedy.plan:
            table.add_row("[dim]oracle against greedy[/]", effect(size.regret))
    console.print(table, highlight=False)
    console.print(f"[dim]{reading(info)}\n", highlight=False, soft_wrap=True)
    show_written(judged_plans(info), console)
    spread = plain_table("drops", "plans", "worst", "median", "best")
    for size in info.sizes:
        least, _, middle, _, most = (gained(value, info.metric) for value in size.spread)
        spread.add_row(str(size.drops), str(size.plans), least, middle, most)
    console.print(spread, highlight=False)
    if info.sample:
        rho = plain_table("drops", *(f"{kind} ρ [95 %], p" for kind in KINDS))
        for size in info.sizes:
            rho.add_row(str(size.drops), *(correlated(size, kind) for kind in KINDS))
        console.print()
        console.print(rho, highlight=False)
        said = "ρ: rank correlation of realignment with OOD test gain, over all plans of a size"
        console.print(f"[dim]{said}", highlight=False, soft_wrap=True)
    console.print(f"\nreport    {info.folder / 'report.html'}", highlight=False, soft_wrap=True)


def chosen(size: SizeOfSpace) -> list[tuple[Placed, str]]:
    """The plans chosen of one size, and who chose them."""
    if size.oracle.plan == size.greedy.plan:
        return [(size.oracle, "oracle and greedy")]
    return [(size.oracle, ORACLE), (size.greedy, GREEDY)]


def judged_plans(info: SpaceInfo) -> Judged:
    """The plans chosen of every size with what they change."""
    plans = [placed for size in info.sizes for placed, _ in chosen(size)]
    return [(placed.plan, *result) for placed in plans for result in (("ood", placed.ood), ("id", placed.id))]


def gained(gain: float, metric: Metric) -> str:
    """A gain as people read it: a multiple of the error, or points."""
    return f"×{1 - gain:#.3g}".rstrip(".") if metric.kind == "error" else signed(100 * gain, 1)


def correlated(size: SizeOfSpace, kind: str) -> str:
    """A rank correlation with its interval over examples and its p-value."""
    found = _correlation(size, kind)
    return f"{signed_interval(found.value, found.ci95, 2)}, {words.p_value(found.p)}" if found else "–"


def reading(info: SpaceInfo) -> str:
    """How to read the table of plans."""
    judged = info.sizes[0].oracle
    held = f"{judged.ood.n} OOD" + (f" and {judged.id.n} ID" if judged.id else "")
    better = "below 1 is better" if info.metric.kind == "error" else "above 0 is better"
    return (
        f"{info.metric.name} on {held} examples held out, against the full model; {better}. Oracle: best of all plans of "
        "its size on the search split. Better plans: of its size, with a higher OOD test score. Worst and best are read off "
        "the test split, so they describe all plans and are no results of choosing."
    )


def sizes_chart(info: SpaceInfo) -> alt.TopLevelMixin:
    """Held-out OOD effect of every plan by the number of drops, with the oracle's and greedy's plans marked."""
    error = info.metric.kind == "error"
    dots = [
        {"drops": len(plan.drops) + 0.6 * (at * GOLDEN % 1 - 0.5), "effect": _drawn(plan.ood, error)}
        for at, plan in enumerate(info.plans)
    ]
    marks = [
        {"drops": size.drops, "effect": _drawn(placed.ood.gain, error), "who": who}
        for size in info.sizes
        for placed, who in ((size.oracle, ORACLE), (size.greedy, GREEDY))
    ]
    x = alt.X(
        "drops:Q",
        title="layers dropped",
        axis=alt.Axis(values=[size.drops for size in info.sizes], format="d"),
        scale=alt.Scale(domain=[0.5, info.sizes[-1].drops + 0.5], nice=False),
    )
    y = _effect("effect", error, test=True)
    colour = alt.Color(
        "who:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=[ORACLE, GREEDY], range=[COLOURS["ID"], COLOURS["OOD"]]),
    )
    shape = alt.Shape(
        "who:N", title=None, sort=None, scale=alt.Scale(domain=[ORACLE, GREEDY], range=["diamond", "circle"])
    )
    cloud = alt.Chart(alt.Data(values=dots)).mark_point(color=GREY, filled=True, size=16, opacity=0.7).encode(x=x, y=y)
    base = alt.Chart(alt.Data(values=marks)).encode(x=x, y=y, color=colour)
    line = base.mark_line(strokeWidth=1.5)
    point = base.mark_point(size=80, strokeWidth=2, opacity=1).encode(shape=shape)
    full = alt.Chart(alt.Data(values=[{"effect": 1 if error else 0}])).mark_rule(color=DARK).encode(y=y)
    return alt.layer(cloud, full, line, point).properties(width=FULL_WIDTH, height=HEIGHT + 70)


def realignment_chart(info: SpaceInfo) -> alt.TopLevelMixin:
    """Realignment of every plan against its held-out OOD effect: a row for each number of drops, norm and distance."""
    panels = [_panel(info, size, kind) for size in info.sizes for kind in KINDS]
    return alt.concat(*panels, columns=2)


def _panel(info: SpaceInfo, size: SizeOfSpace, kind: str) -> Any:
    error = info.metric.kind == "error"
    rows = [
        {"realignment": getattr(plan, kind), "effect": _drawn(plan.ood, error)}
        for plan in info.plans
        if len(plan.drops) == size.drops
    ]
    found = _correlation(size, kind)
    title = f"{size.drops} drop{'s' if size.drops > 1 else ''}, {kind}" + (
        f": ρ = {signed(found.value, 2)}" if found else ""
    )
    x = alt.X(
        "realignment:Q", title="realignment", axis=alt.Axis(format="~g", tickCount=5), scale=alt.Scale(zero=False)
    )
    y = _effect("effect", error, test=False)
    points = alt.Chart(alt.Data(values=rows)).mark_point(filled=True, size=18, opacity=0.6, color=COLOURS["OOD"])
    none = alt.Chart(alt.Data(values=[{"effect": 1 if error else 0}])).mark_rule(color=DARK).encode(y=y)
    still = alt.Chart(alt.Data(values=[{"realignment": 0}])).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x=x)
    return alt.layer(none, still, points.encode(x=x, y=y)).properties(width=WIDTH - 50, height=150, title=title)


def _correlation(size: SizeOfSpace, kind: str) -> Correlation | None:
    return next((found for found in size.correlations if found.kind == kind), None)


def _effect(field: str, error: bool, test: bool) -> alt.Y:
    """The axis of effects; with `test` it says that they are of the test split."""
    title = "OOD error, × full model's" if error else "OOD gain"
    scale = alt.Scale(type="log", nice=False, padding=8) if error else alt.Scale(zero=False, padding=8)
    axis = alt.Axis(format="~g", tickCount=5) if error else alt.Axis(format="+.0%", tickCount=5)
    return alt.Y(f"{field}:Q", title=f"{title}, test split" if test else title, scale=scale, axis=axis)


def _drawn(gain: float, error: bool) -> float:
    """A gain as it is drawn: itself, or the multiple of the error it stands for."""
    return 1 - gain if error else gain
