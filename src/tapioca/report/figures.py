"""Records -> charts. Each chart is readable alone, in print, and by colour-blind people: hue, dash and label agree."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt

from tapioca.records import PROFILE_NAMES, Deviation, Estimate, Gain, Metric, Profile

COLOURS = {"ID": "#0072B2", "ID under the plan": "#56B4E9", "OOD": "#D55E00", "OOD under the plan": "#E69F00"}
SOLID, DASHED = [1, 0], [6, 3]
LOOKS = {name: (colour, DASHED if "under" in name else SOLID) for name, colour in COLOURS.items()}
"""Colour and dash of each series."""
GREY, DARK = "#9a9a9a", "#222222"
WIDTH, HEIGHT = 330, 230  # of one of two panels side by side
FULL_WIDTH = 640


def apply_common_style(chart: Any) -> Any:
    """A chart with the sizes and colours that all charts have in common."""
    return chart.configure(
        axis=alt.AxisConfig(labelFontSize=12, titleFontSize=12, grid=True, gridColor="#eeeeee"),
        legend=alt.LegendConfig(labelFontSize=12, titleFontSize=12, labelLimit=260),
        view=alt.ViewConfig(stroke=None),
        title=alt.TitleConfig(fontSize=13, anchor="start", offset=8),
    )


def series_name(domain: str, planned: bool) -> str:
    """The name of a line: which data, under which model."""
    return domain.upper() + (" under the plan" if planned else "")


def estimate_row(estimate: Estimate | Deviation, **names: Any) -> dict[str, Any]:
    """A number and the ends of its interval, with what else a chart says of it."""
    return {"value": estimate.value, "low": estimate.ci95[0], "high": estimate.ci95[1], **names}


def hold_rows(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows as the data of a chart, in a tuple: altair copies a chart several times, and lists with it entry by entry."""
    return alt.Data(values=tuple(rows))


def plot(rows: list[dict[str, Any]], **encodings: Any) -> alt.Chart:
    """A chart of these rows that has no marks yet."""
    return alt.Chart(hold_rows(rows)).encode(**encodings)


def rule_at(axis: str, value: float, **look: Any) -> alt.Chart:
    """A line across an axis, "x" or "y", at a value."""
    return plot([{}], **{axis: alt.datum(value)}).mark_rule(**{"color": DARK, **look})


def label_points(points: alt.Chart, angle: int = 0) -> alt.Chart:
    """The label of each point, to the right of it and a little above."""
    lift = -3 if angle else -8
    return points.mark_text(align="left", dx=7, dy=lift, angle=angle, fontSize=11, color=DARK).encode(text="label:N")


def value_axis(metric: Metric, title: str | None, share_format: str = ".0%") -> dict[str, Any]:
    """What an axis of scores is made with: errors are compared by ratio, accuracies by difference."""
    if metric.kind == "error":
        scale, axis = alt.Scale(type="log", nice=False, padding=12), alt.Axis(format="~g", tickCount=6)
    else:
        scale, axis = alt.Scale(zero=False, padding=12), alt.Axis(format=share_format, tickCount=6)
    return {"title": title, "scale": scale, "axis": axis}


def effect_axis(metric: Metric, data: str, note: str = "", against: str = "full model's") -> dict[str, Any]:
    """The same of effects on some data; no change is at `metric.effect(0)`."""
    what = f"error, × {against}" if metric.kind == "error" else "gain"
    return value_axis(metric, f"{data} {what}{note}".strip(), "+.1~%")


def draw_effects(
    metric: Metric,
    rows: list[dict[str, Any]],
    ticks: list[dict[str, Any]],
    names: list[str],
    data: str = "",
    against: str = "full model's",
) -> alt.LayerChart | alt.FacetChart:
    """Effects of plans with their intervals, a row for each name; the line is no change.

    Args:
        rows: name, value, low, high and colour of each plan.
        ticks: name and value of random plans.
        names: of the rows, from top to bottom.
        data: which data the effects are on, in the title of the axis.
        against: whose errors they are multiples of.
    """
    axis = effect_axis(metric, data, against=against)
    x = alt.X("value:Q", **axis)
    y = alt.Y("name:N", title=None, sort=None, scale=alt.Scale(domain=names), axis=alt.Axis(labelLimit=320))
    base = plot(rows, y=y, color=alt.Color("colour:N", scale=None))
    interval = base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", **axis), x2="high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1).encode(x=x)
    random = plot(ticks, x=x, y=y).mark_tick(color=GREY, thickness=1.5, size=11)
    return alt.layer(rule_at("x", metric.effect(0)), random, interval, point)


def effect_row(metric: Metric, gain: Gain, **names: Any) -> dict[str, Any]:
    """A gain and the ends of its interval as they are drawn, with what else a chart says of it."""
    low, high = sorted(map(metric.effect, gain.ci95))
    return {"value": metric.effect(gain.gain), "low": low, "high": high, **names}


def draw_lines(
    rows: list[dict[str, Any]], x: alt.X, scale: Any = alt.Undefined, point_size: int = 28
) -> list[alt.Chart]:
    """The layers of a chart of series: a line each, above its band where the rows have one."""
    base = plot(rows, x=x, **encode_by_series(row["series"] for row in rows))
    y = alt.Y("value:Q", scale=scale, title=None)
    line = base.mark_line(point=alt.OverlayMarkDef(size=point_size)).encode(y=y)
    if "low" not in rows[0]:
        return [line]
    return [base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q"), line]


def draw_profiles(measured_profiles: tuple[Profile, ...]) -> alt.TopLevelMixin:
    """Norm and pairwise-distance profiles, side by side, with 95 % bands."""
    titles = {kind: f"mean {name.replace('-', ' ')}" for kind, name in PROFILE_NAMES.items()}
    return alt.hconcat(*[_draw_profile(measured_profiles, kind, title) for kind, title in titles.items()])


def draw_deviations(measured_deviations: tuple[Deviation, ...]) -> alt.TopLevelMixin:
    """Deviation from the ID reference with intervals; the black tick is the 95th percentile of the ID-vs-ID null."""
    panels = []
    for kind, name in PROFILE_NAMES.items():
        rows = [
            estimate_row(deviation, name=series_name(deviation.data, deviation.planned), null=deviation.null_upper)
            for deviation in measured_deviations
            if deviation.kind == kind
        ]
        y = alt.Y("name:N", title=None, sort=list(COLOURS), axis=alt.Axis(labelLimit=200))
        base = plot(rows, y=y)
        x = alt.X("value:Q", title="deviation (mean |log ratio| to ID)")
        colours = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
        bar = base.mark_bar(height=14).encode(x=x, color=alt.Color("name:N", scale=colours, legend=None))
        interval = base.mark_rule(strokeWidth=2, color=DARK).encode(x="low:Q", x2="high:Q")
        null = base.mark_tick(color="black", thickness=2, size=20).encode(x="null:Q")
        height = 34 * max(1, len(rows))
        panels.append(
            alt.layer(bar, interval, null).properties(width=WIDTH - 60, height=height, title=f"{name} profile")
        )
    return alt.hconcat(*panels)


def _draw_profile(measured_profiles: tuple[Profile, ...], kind: str, title: str) -> alt.LayerChart | alt.FacetChart:
    rows = [
        {"layer": layer, "value": layer_mean, "low": band[0], "high": band[1]}
        | {"series": series_name(profile.data, profile.planned)}
        for profile in measured_profiles
        for layer, layer_mean, band in zip(
            profile.layers, getattr(profile, kind), getattr(profile, f"{kind}_band"), strict=True
        )
    ]
    x = alt.X("layer:Q", title="after layer", axis=integer_axis(measured_profiles[0].layers))
    layers = draw_lines(rows, x, alt.Scale(type="log", nice=False))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)


def encode_by_series(
    shown: Iterable[str], looks: Mapping[str, tuple[str, list[int]]] = LOOKS, **legend: Any
) -> dict[str, Any]:
    """Colour and dash of the series shown in a chart of lines, with one legend for both."""
    present = set(shown)
    names = [name for name in looks if name in present]
    colours, dashes = (alt.Scale(domain=names, range=[looks[name][part] for name in names]) for part in range(2))
    key = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2, **legend)
    return {
        "color": alt.Color("series:N", title=None, sort=names, scale=colours, legend=key),
        "strokeDash": alt.StrokeDash("series:N", title=None, sort=names, scale=dashes),
    }


def integer_axis(numbers: Iterable[int], most: int = 17, **look: Any) -> alt.Axis:
    """An axis with ticks at whole numbers only, thinned where there are more than so many."""
    ticks = sorted(set(numbers))
    return alt.Axis(values=ticks[:: 1 + len(ticks) // most], format="d", **look)
