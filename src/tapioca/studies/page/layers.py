"""Charts of a study along layers; None where nothing was measured. Heat maps hold their numbers, for print."""

from statistics import median
from typing import Any

import altair as alt

from tapioca.records import PROFILE_NAMES, signed
from tapioca.report.figures import hold_rows
from tapioca.studies.page.scales import (
    BLUE,
    LOG_RATIO_AXIS,
    ORANGE,
    Rows,
    add_title,
    chart_kind_name,
    draw_facets,
    kind_axis,
    panel_title,
)
from tapioca.studies.results import SettingResult

TILE_WIDTH = 35


def draw_heat_map(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Layer x kind of shift: each layer's share of the two deviations, and the log ratio of dropping it alone."""
    tiles = setting.charts.heat
    if not tiles:
        return None
    share_bound = _color_bound([abs(getattr(tile, kind)) for tile in tiles for kind in PROFILE_NAMES])
    ratio_bound = _color_bound([abs(tile.log_ratio) for tile in tiles if tile.log_ratio is not None])
    panels = (
        *((f"Share of the {kind} deviation", "share, |log ratio|", kind, share_bound) for kind in PROFILE_NAMES),
        ("Log ratio of dropping the layer", LOG_RATIO_AXIS, "log_ratio", ratio_bound),
    )
    charts = [_draw_tiles(setting, *panel, labelled=panel_index == 0) for panel_index, panel in enumerate(panels)]
    return add_title(
        alt.hconcat(*charts, spacing=12).resolve_scale(color="independent"),
        "Which layers carry the deviation, and which are better dropped",
        setting,
    )


def draw_profile_ratios(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Signed log ratio of both profiles to the ID ones layer by layer, kind by kind."""
    rows: Rows = []
    for point in setting.charts.profiles:
        for kind, name in PROFILE_NAMES.items():
            value = getattr(point, kind)
            low, high = getattr(point, f"{kind}_ci95") or (value, value)
            place = {"x": point.layer, "series": name.replace("-", " "), "kind": chart_kind_name(setting, point.kind)}
            rows.append({"value": value, "low": low, "high": high, **place})
    if not rows:
        return None
    layers = sorted({row["x"] for row in rows})
    x = alt.X(
        "x:Q", title="after layer", axis=alt.Axis(values=layers[:: 1 + len(layers) // 9], format="d", labelFlush=False)
    )
    return add_title(
        draw_facets(rows, x, "log ratio", "shared"),
        "How shifts bend the profiles, layer by layer",
        setting,
        "log ratio of the OOD to the ID profile; above 0 states are longer, or further apart",
    )


def _draw_tiles(
    setting: SettingResult,
    title: str,
    legend: str,
    field: str,
    bound: float,
    labelled: bool,
) -> Any:
    tiles = setting.charts.heat
    rows = [
        {
            "kind": chart_kind_name(setting, tile.kind),
            "layer": tile.layer,
            "value": getattr(tile, field),
            "text": _format_tile(getattr(tile, field)),
        }
        for tile in tiles
    ]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    y = kind_axis(kinds, labels=labelled, domain=False, grid=False)
    x = alt.X(
        "layer:O", title="layer", axis=alt.Axis(labelAngle=0, orient="top", ticks=False, domain=False, grid=False)
    )
    scale = alt.Scale(domain=[-bound, 0, bound], range=[ORANGE, "#ffffff", BLUE], interpolate="rgb", clamp=True)
    width = TILE_WIDTH * len({tile.layer for tile in tiles})
    gradient = alt.Legend(
        title=legend,
        orient="bottom",
        gradientLength=min(160, width),
        gradientThickness=9,
        values=[-bound, 0, bound],
        format=".2~g",
    )
    base = alt.Chart(hold_rows(rows)).encode(x=x, y=y)
    colour = alt.Color("value:Q", scale=scale, legend=gradient)
    dark = f"abs(datum.value) > {0.6 * bound}"
    text = base.mark_text(fontSize=10.5).encode(
        text="text:N", color=alt.condition(dark, alt.value("white"), alt.value("black"))
    )
    size = {"width": width, "height": 22 * len(kinds)}
    return alt.layer(
        base.transform_filter("datum.value !== null").mark_rect(stroke="#dddddd").encode(color=colour), text
    ).properties(title=panel_title(title), **size)


def _format_tile(number: float | None) -> str:
    """At most five characters: '+0.12', '−1.3', '+42', or '–'."""
    if number is None:
        return "–"
    magnitude = abs(number)
    if magnitude < 0.005:
        return "0.00"
    return signed(number, 2 if magnitude < 0.995 else 1 if magnitude < 9.95 else 0)


def _color_bound(magnitudes: list[float]) -> float:
    """Where colours end: at three times the median, so that a few large values do not bleach the others, but not below
    a fifth of the largest, so that noise around one large value stays pale."""
    largest = max(magnitudes, default=0.0)
    return min(largest, max(3 * median(magnitudes), largest / 5)) if largest else 1.0
