"""The charts of a timing: time ratios with their intervals, and what is written a second by the number of prompts."""

from typing import Any

import altair as alt

from tapioca.commands.bench import words
from tapioca.commands.bench.result import BenchResult, SideName
from tapioca.report import figures

SIDE_COLOURS: dict[SideName, str] = {
    "full": figures.GREY,
    "plan": "#0072B2",
    "other": "#0072B2",
    "checkpoint": "#D55E00",
}


def draw_charts(info: BenchResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    charts: dict[str, alt.TopLevelMixin] = {"ratios": draw_ratios(info)}
    if len({size.batch for size in info.sizes if not size.protocol}) > 1:
        charts["throughput"] = draw_throughput(info)
    return charts


def draw_ratios(info: BenchResult) -> alt.TopLevelMixin:
    """Every time as a multiple of the first side's, with its interval; dashed is what layers alone predict."""
    rows = [
        figures.estimate_row(timing.ratios[side.name], name=words.name_measure(size, timing), side=side.label)
        for size in info.sizes
        for timing in size.measures
        for side in info.sides[1:]
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    x = alt.X(
        "value:Q",
        title="time, × that of the first model",
        scale=alt.Scale(zero=False, padding=12),
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y(
        "name:N",
        title=None,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=320, minExtent=7 * max(map(len, names))),
    )
    base = figures.plot(rows, y=y, yOffset=alt.YOffset("side:N"), color=_colour_sides(info, first=1))
    interval = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title=None), x2="high:Q")
    point = base.mark_point(filled=True, size=50, opacity=1).encode(x=x)
    layers = [figures.rule_at("x", 1.0)]
    for predicted in dict.fromkeys(side.by_layers for side in info.sides[1:] if side.by_layers):
        layers.append(figures.rule_at("x", predicted, strokeDash=figures.DASHED, color=figures.GREY))
    height = (14 * (len(info.sides) - 1) + 12) * len(names)
    return alt.layer(*layers, interval, point).properties(width=figures.FULL_WIDTH - 190, height=height)


def draw_throughput(info: BenchResult) -> alt.TopLevelMixin:
    """Tokens a second of all that is written, or read where nothing is, by the number of prompts; a panel for each length."""
    panels = []
    sizes = [size for size in info.sizes if not size.protocol]
    for length in dict.fromkeys(size.length for size in sizes):
        rows: list[dict[str, Any]] = []
        for size in (one for one in sizes if one.length == length):
            timing = size.find("whole" if info.writes else "forward")
            tokens = size.batch * (size.new_tokens or size.length)
            rows += [
                {"batch": size.batch, "rate": tokens / timing.find_median(side.name), "side": side.label}
                for side in info.sides
            ]
        batches = sorted({row["batch"] for row in rows})
        axis = alt.Axis(values=batches, format="d")
        x = alt.X("batch:Q", title="prompts at once", scale=alt.Scale(type="log", nice=False, padding=16), axis=axis)
        y = alt.Y(
            "rate:Q", title="tokens a second", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(format="~s")
        )
        chart = figures.plot(rows, x=x, y=y, color=_colour_sides(info)).mark_line(point=True)
        panels.append(chart.properties(width=figures.WIDTH - 70, height=180, title=f"prompts of {length} tokens"))
    return alt.hconcat(*panels) if len(panels) < 3 else alt.concat(*panels, columns=2)


def _colour_sides(info: BenchResult, first: int = 0) -> alt.Color:
    """Colours of the sides, from one of them on."""
    sides = info.sides[first:]
    scale = alt.Scale(domain=[side.label for side in sides], range=[SIDE_COLOURS[side.name] for side in sides])
    return alt.Color("side:N", title=None, scale=scale, legend=alt.Legend(orient="top") if len(sides) > 1 else None)
