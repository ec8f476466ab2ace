"""Records -> charts. Each chart is readable alone, in print, and by colour-blind people: hue, dash and label agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from tapioca.records import PROFILE_NAMES, Deviation, Estimate, Profile

COLOURS = {"ID": "#0072B2", "ID under the plan": "#56B4E9", "OOD": "#D55E00", "OOD under the plan": "#E69F00"}
DASHES = {"ID": [1, 0], "ID under the plan": [6, 3], "OOD": [1, 0], "OOD under the plan": [6, 3]}
GREY, DARK = "#9a9a9a", "#222222"
WIDTH, HEIGHT = 330, 230  # of one of two panels side by side
FULL_WIDTH = 640


def chart_to_svg(chart: Any) -> str:
    """A chart as SVG text, made without a browser or a network."""
    import vl_convert

    return vl_convert.vegalite_to_svg(apply_common_style(chart).to_json())


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
        base = alt.Chart(alt.Data(values=rows)).encode(y=y)
        x = alt.X("value:Q", title="deviation (mean |log ratio| to ID)")
        bar = base.mark_bar(height=14).encode(x=x, color=_series_colour("name"))
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
    x = alt.X("layer:Q", title="after layer", axis=_integer_axis(measured_profiles[0].layers))
    scale = alt.Scale(type="log", nice=False)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, **encode_by_series(str(row["series"]) for row in rows))
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=28)).encode(y=alt.Y("value:Q", scale=scale, title=None))
    return alt.layer(band, line).properties(width=WIDTH, height=HEIGHT, title=title)


def encode_by_series(shown: Iterable[str]) -> dict[str, Any]:
    """Colour and dash of the series shown in a chart of lines, with one legend for both."""
    present = set(shown)
    names = [name for name in COLOURS if name in present]
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2)
    dashes = alt.Scale(domain=names, range=[DASHES[name] for name in names])
    colours = alt.Scale(domain=names, range=[COLOURS[name] for name in names])
    return {
        "color": alt.Color("series:N", title=None, sort=names, scale=colours, legend=legend),
        "strokeDash": alt.StrokeDash("series:N", title=None, sort=names, scale=dashes),
    }


def _series_colour(field: str) -> alt.Color:
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def _integer_axis(numbers: Iterable[int]) -> alt.Axis:
    """An axis with ticks at whole numbers only, thinned where there are many."""
    ticks = list(numbers)
    return alt.Axis(values=ticks[:: 1 + len(ticks) // 17], format="d")
