"""Charts of a study along scales and strengths, and what its charts have in common. Dash and shape agree with hue, so that all can be read in print and by colour-blind people. A chart is None where nothing was measured for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from tapioca.records import PROFILE_NAMES
from tapioca.report.figures import DARK, GREY, estimate_row, hold_rows
from tapioca.studies.page.text import kind_name
from tapioca.studies.results import SettingResult

Rows = list[dict[str, Any]]
Look = tuple[str, list[int], str]
"""Colour, dash and shape of a series."""
BLUE, ORANGE = "#0072B2", "#D55E00"
SERIES_LOOKS: dict[str, Look] = {
    "norm": (BLUE, [1, 0], "circle"),
    "pairwise distance": (ORANGE, [6, 3], "triangle-up"),
    "searched anew": (ORANGE, [1, 0], "circle"),
    "fixed plan": (BLUE, [6, 3], "square"),
    "chosen layers": (ORANGE, [1, 0], "circle"),
    "random layers": (GREY, [2, 2], "square"),
    "all layers": (BLUE, [6, 3], "triangle-up"),
}
LOG_RATIO_AXIS = "log ratio: ln(full / plan error)"
DEVIATION_AXIS = "mean |log ratio| to ID"
SMALL_PANEL = {"width": 205, "height": 105}  # of one of four panels side by side


def draw_dose_response(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Log ratio and both deviations over the scale of chosen, random and all layers."""
    points = setting.charts.doses
    if not points:
        return None
    panels = (
        ("Score", LOG_RATIO_AXIS, "log_ratio"),
        *((f"{name.capitalize()} deviation", DEVIATION_AXIS, kind) for kind, name in PROFILE_NAMES.items()),
    )
    charts = []
    for title, axis, field in panels:
        rows = [
            estimate_row(estimate, x=point.alpha, series=f"{point.layers} layers")
            for point in points
            if (estimate := getattr(point, field)) is not None
        ]
        if rows:
            charts.append(_draw_dose_panel(rows, title, axis))
    return add_title(
        alt.hconcat(*charts, bounds="flush", spacing=75), "Score and geometry when layers are scaled", setting
    )


def draw_log_ratios_by_strength(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Log ratio by strength, kind by kind: a plan searched anew at every strength, and the fixed plan."""
    unit = "ln(error of the full model / error of the plan), above 0 is better"
    return _draw_by_strength(setting, "log ratio", unit, {"searched anew": "anew", "fixed plan": "fixed"})


def draw_deviations_by_strength(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Both deviations by strength, kind by kind."""
    unit = "mean over layers of |log ratio to the ID profile|"
    field_by_series = {name.replace("-", " "): kind for kind, name in PROFILE_NAMES.items()}
    return _draw_by_strength(setting, "deviation", unit, field_by_series)


def add_title(chart: Any, title: str, setting: SettingResult, below: str = "") -> Any:
    """A chart with what it shows and where, so that it can stand alone."""
    text = alt.Title(
        title,
        subtitle=[setting.title, *([below] if below else [])],
        fontSize=15,
        subtitleFontSize=12,
        subtitleColor="#555555",
        offset=14,
    )
    return chart.properties(title=text)


def panel_title(text: str) -> alt.Title:
    """The title of a panel, at one height in all panels of a row."""
    return alt.Title(text, frame="group")


def encode_series(
    rows: Rows,
    *channels: Literal["color", "strokeDash", "shape"],
    looks: Mapping[str, Look] = SERIES_LOOKS,
    outline: int = 0,
) -> dict[str, Any]:
    """Colour, dash or shape of the series shown, with one legend for all, whose symbols have an outline so wide."""
    present_series = {row["series"] for row in rows}
    names = [name for name in looks if name in present_series]
    legend = alt.Legend(symbolSize=90, symbolOpacity=1, symbolStrokeWidth=outline, orient="bottom", labelLimit=300)
    classes = {"color": alt.Color, "strokeDash": alt.StrokeDash, "shape": alt.Shape}
    return {
        channel: classes[channel](
            "series:N",
            title=None,
            sort=names,
            scale=alt.Scale(domain=names, range=[looks[name][list(classes).index(channel)] for name in names]),
            legend=None if channel == "strokeDash" else legend,
        )
        for channel in channels
    }


def draw_series_layers(rows: Rows, x: alt.X, y: alt.Y, clip: bool = False) -> list[Any]:
    """A rule at zero, a band, a line and points of every series; the data is set by the caller."""
    area = alt.Chart().mark_area(opacity=0.16, clip=clip)
    band = area.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", **encode_series(rows, "color"))
    line = (
        alt.Chart().mark_line(strokeWidth=2, clip=clip).encode(x=x, y=y, **encode_series(rows, "color", "strokeDash"))
    )
    mark = alt.Chart().mark_point(filled=True, size=34, opacity=1, clip=clip)
    point = mark.encode(x=x, y=y, **encode_series(rows, "color", "shape"))
    zero_line = alt.Chart().mark_rule(color=DARK, strokeWidth=0.8).encode(y=alt.datum(0))
    return [zero_line, band, line, point]


def draw_banded_line(rows: Rows, x: alt.X, y: alt.Y, color: str, **line: Any) -> list[Any]:
    """A line of one colour and the band around it; nothing without rows."""
    base = alt.Chart(hold_rows(rows)).encode(x=x)
    band = base.mark_area(opacity=0.16, color=color).encode(y=alt.Y("low:Q"), y2="high:Q")
    return [band, base.mark_line(color=color, **line).encode(y=y)] if rows else []


def value_axis(title: str, ticks: int = 6, padding: int = 10) -> alt.Y:
    """The vertical axis of `value`, as high as the values need."""
    axis = alt.Axis(tickCount=ticks, format="~g")
    return alt.Y("value:Q", title=title, scale=alt.Scale(nice=False, padding=padding), axis=axis)


def kind_axis(names: Sequence[str], **axis: Any) -> alt.Y:
    """A row for each kind of shift."""
    return alt.Y("kind:N", sort=names, title=None, axis=alt.Axis(labelLimit=220, ticks=False, **axis))


def count_axis(top: int) -> alt.Axis:
    """An axis of whole numbers up to `top`; where they are few, the renderer would put ticks between them."""
    return alt.Axis(format="d", tickCount=5, values=list(range(top + 1)) if top < 5 else alt.Undefined)


def _draw_dose_panel(rows: Rows, title: str, axis: str) -> Any:
    """One panel, as high as the chosen and the random layers need; that of all layers may leave it."""
    fitted_rows = [row for row in rows if row["series"] != "all layers"] or rows
    low, high = min(row["low"] for row in fitted_rows), max(row["high"] for row in fitted_rows)
    pad = 0.06 * (high - low) or 0.01
    domain = [min(0, low - pad), max(0, high + pad)]
    x = alt.X(
        "x:Q", title="scale α: 0 dropped, 1 as it came", axis=alt.Axis(tickCount=5, format="~g", labelFlush=False)
    )
    y = alt.Y(
        "value:Q", title=axis, scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(tickCount=6, format="~g")
    )
    full_model_rule = alt.Chart().mark_rule(color=GREY, strokeWidth=1).encode(x=alt.datum(1))
    chart = alt.layer(full_model_rule, *draw_series_layers(rows, x, y, clip=True), data=hold_rows(rows))
    return chart.properties(width=250, height=210, title=panel_title(title))


def _draw_by_strength(
    setting: SettingResult, name: str, unit: str, field_by_series: Mapping[str, str]
) -> alt.TopLevelMixin | None:
    rows = [
        estimate_row(getattr(point, field), x=point.strength, series=series, kind=kind_name(point.kind, point.control))
        for point in setting.charts.strengths
        for series, field in field_by_series.items()
    ]
    if not rows:
        return None
    strengths = sorted({row["x"] for row in rows})
    x = alt.X("x:Q", title="strength, 0 is ID", axis=alt.Axis(values=strengths, format="d", labelFlush=False))
    title = f"{name[:1].upper()}{name[1:]} by strength of the shift"
    return add_title(draw_facets(rows, x, name, "independent"), title, setting, f"{name}: {unit}")


def draw_facets(rows: Rows, x: alt.X, axis: str, heights: Literal["shared", "independent"]) -> Any:
    """A small panel for every kind of shift, four in a row."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    y = value_axis(axis, ticks=4, padding=7)
    header = alt.Header(title=None, labelFontSize=12, labelFontWeight="bold", labelAnchor="start", labelPadding=3)
    panel = alt.layer(*draw_series_layers(rows, x, y), data=hold_rows(rows)).properties(**SMALL_PANEL)
    facet = alt.Facet("kind:N", sort=kinds, header=header, title=None)
    return (
        panel.facet(facet=facet, columns=4, bounds="flush", spacing={"row": 68, "column": 58})
        .resolve_scale(y=heights)
        .resolve_axis(x="independent")
    )


def chart_kind_name(setting: SettingResult, kind: str) -> str:
    """A kind of shift as charts call it."""
    return kind_name(kind, kind in setting.controls)
