"""Charts of a dose-response. Hue, dash and width agree, so that they can be read in print and by colour-blind people."""

from __future__ import annotations

from typing import Any

import altair as alt

from tapioca.records import Curve, Estimate, ScaleInfo
from tapioca.report.figures import COLOURS, DARK, GREY, HEIGHT, WIDTH


def response_chart(info: ScaleInfo) -> alt.TopLevelMixin:
    """Scores and deviations over the scale: the chosen layers and all layers with 95 % bands, random sets as thin lines."""
    panels = (
        ["score"] + (["id_score"] if "id" in info.examples else []) + (["norm", "distance"] if info.observed else [])
    )
    return alt.concat(*[_panel(info, field) for field in panels], columns=2).resolve_scale(x="shared")


def together_chart(info: ScaleInfo) -> alt.TopLevelMixin:
    """OOD score against each deviation, along the scales of the chosen layers."""
    return alt.hconcat(*[_path(info, kind) for kind in ("norm", "distance")])


def _panel(info: ScaleInfo, field: str) -> Any:
    error = info.metric.kind == "error"
    titles = {
        "score": f"OOD {info.metric.name}",
        "id_score": f"ID {info.metric.name}",
        "norm": "norm deviation of OOD from ID",
        "distance": "distance deviation of OOD from ID",
    }
    deviates = field in ("norm", "distance")
    scale = alt.Scale(type="log", nice=False) if deviates or error else alt.Scale(zero=False)
    axis = alt.Axis(format="~g" if deviates or error else ".0%", tickCount=6)
    rows = [*_rows(info, info.every, info.all_of, field), *_rows(info, info.chosen, _chosen(info), field)]
    drawn = [
        {"alpha": alpha, "value": _shown(info, field, value), "draw": number, "series": _random(info)}
        for number, draw in enumerate(info.draws)
        for alpha, value in zip(info.alphas, getattr(draw, field, ()), strict=False)
    ]
    x = alt.X("alpha:Q", title="α", axis=alt.Axis(tickCount=6, format="~g"), scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title=None, scale=scale, axis=axis)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=_colour(info))
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=2.2).encode(y=y, strokeDash=_dash(info))
    random = (
        alt.Chart(alt.Data(values=drawn))
        .mark_line(strokeWidth=0.9, opacity=0.8)
        .encode(x=x, y=y, detail="draw:N", color=_colour(info), strokeDash=_dash(info))
    )
    full = alt.Chart(alt.Data(values=[{"alpha": 1}])).mark_rule(color=DARK, strokeWidth=0.8).encode(x=x)
    null = [{"value": info.null[field]}] if deviates else []  # type: ignore[index]
    chance = alt.Chart(alt.Data(values=null)).mark_rule(color=DARK, strokeDash=[2, 3]).encode(y=y)
    layers = [full, *([random] if drawn else []), *([chance] if null else []), band, line]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=titles[field])


def _path(info: ScaleInfo, kind: str) -> Any:
    error, ends = info.metric.kind == "error", (info.alphas[0], 1.0, info.alphas[-1])
    rows = [
        {
            "alpha": dose.alpha,
            "deviation": getattr(dose, kind).value,
            "value": info.metric.shown(dose.score.value),
            "label": f"α = {dose.alpha:g}" if dose.alpha in ends else "",
        }
        for dose in info.chosen.doses
    ]
    y_scale = alt.Scale(type="log", nice=False, padding=12) if error else alt.Scale(zero=False, padding=12)
    x = alt.X(
        "deviation:Q",
        title=f"{kind} deviation of OOD from ID",
        scale=alt.Scale(zero=False, padding=25),
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    y = alt.Y(
        "value:Q",
        title=f"OOD {info.metric.name}",
        scale=y_scale,
        axis=alt.Axis(format="~g" if error else ".0%", tickCount=6),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    line = base.mark_line(color=GREY, strokeWidth=1.2).encode(order="alpha:Q")
    points = base.mark_point(filled=True, size=32, color=COLOURS["OOD"], opacity=1)
    labels = base.mark_text(align="left", dx=7, dy=-7, fontSize=12, color=DARK).encode(text="label:N")
    return alt.layer(line, points, labels).properties(width=WIDTH, height=HEIGHT)


def _rows(info: ScaleInfo, curve: Curve, name: str, field: str) -> list[dict[str, Any]]:
    """One line with its band; on a logarithmic axis a band that reaches 0 ends below the line's own lowest point."""
    found: dict[float, Estimate] = {dose.alpha: getattr(dose, field) for dose in curve.doses}
    least = min(abs(estimate.value) for estimate in found.values()) / 2
    rows = []
    for alpha, estimate in found.items():
        low, high = sorted(_shown(info, field, end) for end in estimate.ci95)
        low = low if field in ("score", "id_score") else max(low, least)
        row = {"alpha": alpha, "value": _shown(info, field, estimate.value), "low": low, "high": high, "series": name}
        rows.append(row)
    return rows


def _shown(info: ScaleInfo, field: str, value: float) -> float:
    """A number as people read it: an error without its minus sign."""
    return info.metric.shown(value) if field in ("score", "id_score") else value


def _chosen(info: ScaleInfo) -> str:
    return f"chosen: {info.chosen.what}"


def _random(info: ScaleInfo) -> str:
    return f"{len(info.draws)} random sets of {info.chosen.drops.size}"


def _names(info: ScaleInfo) -> list[str]:
    return [_chosen(info), info.all_of, *([_random(info)] if info.draws else [])]


def _colour(info: ScaleInfo) -> alt.Color:
    scale = alt.Scale(domain=_names(info), range=[COLOURS["OOD"], COLOURS["ID"], GREY])
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2, orient="bottom", columns=3)
    return alt.Color("series:N", title=None, sort=None, scale=scale, legend=legend)


def _dash(info: ScaleInfo) -> alt.StrokeDash:
    scale = alt.Scale(domain=_names(info), range=[[1, 0], [6, 3], [1, 0]])
    return alt.StrokeDash("series:N", title=None, sort=None, scale=scale)
