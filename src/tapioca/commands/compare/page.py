"""A comparison of criteria on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from tapioca.commands.compare.result import CompareResult, Pick
from tapioca.records import Gain, signed_interval
from tapioca.report import format as words
from tapioca.report.figures import COLOURS, DARK, FULL_WIDTH, GREY, HEIGHT, WIDTH
from tapioca.report.screen import show_data
from tapioca.report.tables import plain_table, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, written_rows

RANDOM = "random plans"


def draw_charts(info: CompareResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"criteria": draw_criteria(info), "front": draw_front(info)}


def write_page(info: CompareResult) -> Path:
    """Write `report.html` into the folder of a comparison and return its path."""
    return write_record_page(
        "tapioca.commands.compare",
        info,
        draw_charts(info),
        words=words,
        effect=format_effect,
        written=written_rows(judged_plans(info)),
    )


def format_effect(gain: Gain | None) -> str:
    """A change with its interval, short: '0.554 [0.523, 0.589]' as a multiple of the error, or '+2.1 [+0.4, +3.8]' in points."""
    if gain is None:
        return "–"
    if gain.metric.kind == "error":
        ratio, low, high = (f"{ratio:#.3g}".rstrip(".") for ratio in _effect_and_ends(gain))
        return f"{ratio} [{low}, {high}]"
    return signed_interval(100 * gain.gain, (100 * gain.ci95[0], 100 * gain.ci95[1]), 1)


def show(info: CompareResult, console: Console) -> None:
    """Print a comparison: every plan chosen with its held-out result, then what each criterion cost."""
    show_data(info.task, info.reference, console)
    unit = "error ×" if info.metric.kind == "error" else "points"
    table = plain_table("plan, chosen by", f"OOD {unit} [95 %]", "p", f"ID {unit} [95 %]", f"vs {info.first}")
    for drops in info.list_sizes():
        table.add_row(f"[dim]{drops} drop{'s' if drops > 1 else ''}")
        for pick in info.picks:
            if pick.drops == drops:
                who = f"{pick.plan}\n[dim]{', '.join(pick.criteria)}[/]"
                effects = format_effect(pick.ood), words.p_value(pick.p_ood), format_effect(pick.id)
                table.add_row(who, *effects, compare_with_first(pick, info.first))
    console.print(table, highlight=False)
    print_line(console, f"[dim]{explain_comparison(info)}\n")
    show_written(judged_plans(info), console)
    costs = plain_table("criterion", "plans tried", "layer-forwards", "model time")
    for searched in info.searched:
        spent = words.format_quantity(searched.layer_forwards), words.format_duration(searched.seconds)
        costs.add_row(searched.name, str(searched.plans_tried), *spent)
    console.print(costs, highlight=False)
    print_line(console, "[dim]A layer-forward is one layer computed for one sequence.")
    print_line(console, f"\nreport    {info.folder / 'report.html'}")


def judged_plans(info: CompareResult) -> HeldOutGains:
    """Every plan chosen with what it changes."""
    return [(pick.plan, *result) for pick in info.picks for result in (("ood", pick.ood), ("id", pick.id))]


def compare_with_first(pick: Pick, first: str) -> str:
    """What the interval says of a plan against the first criterion's: better, worse, unclear, or the same plan."""
    if pick.rival is None:
        return "same" if first in pick.criteria else "–"
    low, high = pick.rival.ci95
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def explain_comparison(info: CompareResult) -> str:
    """How to read the table of plans."""
    judged = info.picks[0]
    held = f"{judged.ood.n} OOD" + (f" and {judged.id.n} ID" if judged.id else "")
    better = "below 1 is better" if info.metric.kind == "error" else "above 0 is better"
    plans = len({pick.plan for pick in info.picks})
    return (
        f"{info.metric.name} on {held} examples no search saw, against the full model; {better}. "
        f"p: paired t-test, corrected for {plans} plans (Holm). vs {info.first}: by the paired interval of the two OOD results."
    )


def draw_criteria(info: CompareResult) -> alt.TopLevelMixin:
    """Held-out OOD effect of every criterion's plan, one panel for each number of drops; ticks are random plans."""
    panels = [_draw_size_panel(info, drops) for drops in info.list_sizes()]
    return alt.concat(*panels, columns=2).resolve_scale(x="shared")


def _draw_size_panel(info: CompareResult, drops: int) -> Any:
    error = info.metric.kind == "error"
    rows = [
        {"name": name, **dict(zip(("effect", "low", "high"), _effect_and_ends(pick.ood), strict=True))}
        | {"first": name == info.first}
        for name in (searched.name for searched in info.searched)
        if (pick := info.find_pick(name, drops))
    ]
    ticks = [{"name": RANDOM, "effect": info.metric.effect(gain)} for gain in info.random.get(drops, ())]
    title = "OOD error, as a multiple of the full model's" if error else "OOD gain over the full model"
    scale = alt.Scale(type="log", nice=False, padding=12) if error else alt.Scale(padding=12)
    axis = alt.Axis(format="~g", tickCount=5) if error else alt.Axis(format="+.0%")
    names = [*(searched.name for searched in info.searched), *([RANDOM] if ticks else [])]
    y = alt.Y("name:N", title=None, sort=None, scale=alt.Scale(domain=names))
    x = alt.X("effect:Q", title=title, scale=scale, axis=axis)
    colour = alt.condition("datum.first", alt.value(COLOURS["OOD"]), alt.value(COLOURS["ID"]))
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    interval = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", scale=scale, axis=axis, title=title), x2="high:Q", color=colour
    )
    point = base.mark_point(filled=True, size=55, opacity=1).encode(x=x, color=colour)
    random = alt.Chart(alt.Data(values=ticks)).mark_tick(color=GREY, thickness=1.5, size=11).encode(x=x, y=y)
    none = alt.Chart(alt.Data(values=[{"effect": info.metric.effect(0)}])).mark_rule(color=DARK).encode(x=x)
    drop = f"{drops} drop{'s' if drops > 1 else ''}"
    return alt.layer(none, random, interval, point).properties(width=WIDTH, height=16 * len(names), title=drop)


def draw_front(info: CompareResult) -> alt.TopLevelMixin:
    """OOD score against the operations left; the line is the Pareto front, coloured points are the first criterion's."""
    metric = info.metric
    full = metric.to_display(info.picks[0].ood.full)
    rows: list[dict[str, Any]] = [
        {"flops": 1.0, "value": full, "label": "full model", "first": False, "front": info.full_on_front}
    ]
    rows += [
        {
            "flops": pick.flops,
            "value": metric.to_display(pick.ood.planned),
            "label": _label_pick(pick),
            "first": info.first in pick.criteria,
            "front": pick.front,
        }
        for pick in info.picks
    ]
    error = metric.kind == "error"
    x = alt.X(
        "flops:Q",
        title="floating-point operations left",
        axis=alt.Axis(format=".0%"),
        scale=alt.Scale(domain=[min(row["flops"] for row in rows), 1.0], nice=False, padding=25),
    )
    y = alt.Y(
        "value:Q",
        title=f"OOD {metric.name}, test split",
        axis=alt.Axis(format="~g" if error else ".0%"),
        scale=alt.Scale(type="log", nice=False, padding=15) if error else alt.Scale(zero=False, padding=15),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    colour = alt.condition("datum.first", alt.value(COLOURS["OOD"]), alt.value(GREY))
    points = base.mark_point(filled=True, size=45, opacity=0.9).encode(color=colour)
    front = base.transform_filter("datum.front")
    line = front.mark_line(color=DARK, strokeWidth=1.5).encode(order="flops:Q")
    ring = front.mark_point(size=90, color=DARK, strokeWidth=1.5)
    named = base.transform_filter("datum.front || datum.label == 'full model'")
    labels = named.mark_text(align="left", dx=8, dy=-3, angle=330, fontSize=11, color=DARK).encode(text="label:N")
    return alt.layer(points, line, ring, labels).properties(width=FULL_WIDTH, height=HEIGHT + 70)


def _effect_and_ends(gain: Gain) -> tuple[float, float, float]:
    """The effect and the ends of its interval as they are drawn."""
    low, high = sorted(map(gain.metric.effect, gain.ci95))
    return gain.metric.effect(gain.gain), low, high


def _label_pick(pick: Pick) -> str:
    """Who chose a plan, in the space of a label."""
    others = len(pick.criteria) - 1
    return f"{pick.drops}: {pick.criteria[0]}{f' + {others}' if others else ''}"
