"""Charts of a dose-response. Hue, dash and width agree, so that they can be read in print and by colour-blind people."""

from __future__ import annotations

from typing import Any

import altair as alt

from tapioca.commands.scale.result import Curve, ScaleResult
from tapioca.records import PROFILE_NAMES, Estimate
from tapioca.report.figures import COLOURS, DARK, GREY, HEIGHT, WIDTH


def draw_responses(info: ScaleResult) -> alt.TopLevelMixin:
    """Scores and deviations over the scale: the chosen layers and all layers with 95 % bands, random sets as thin lines."""
    panels = ["score", *(["id_score"] if "id" in info.examples else [])]
    panels += PROFILE_NAMES if info.observed else ()
    return alt.concat(*[_draw_response_panel(info, field) for field in panels], columns=2).resolve_scale(x="shared")


def draw_score_by_deviation(info: ScaleResult) -> alt.TopLevelMixin:
    """OOD score against each deviation, along the scales of the chosen layers."""
    return alt.hconcat(*[_draw_path_panel(info, kind) for kind in PROFILE_NAMES])


def _draw_response_panel(info: ScaleResult, field: str) -> Any:
    error = info.metric.kind == "error"
    titles: dict[str, str] = {
        "score": f"OOD {info.metric.name}",
        "id_score": f"ID {info.metric.name}",
        **{kind: f"{kind} deviation of OOD from ID" for kind in PROFILE_NAMES},
    }
    deviates = field in PROFILE_NAMES
    scale = alt.Scale(type="log", nice=False) if deviates or error else alt.Scale(zero=False)
    axis = alt.Axis(format="~g" if deviates or error else ".0%", tickCount=6)
    rows = [
        *_curve_rows(info, info.every, info.all_of, field),
        *_curve_rows(info, info.chosen, _chosen_series(info), field),
    ]
    random_rows = [
        {"alpha": alpha, "value": _as_displayed(info, field, outcome), "draw": number, "series": _random_series(info)}
        for number, draw in enumerate(info.random_sets)
        for alpha, outcome in zip(info.scales, getattr(draw, field, ()), strict=False)
    ]
    x = alt.X("alpha:Q", title="α", axis=alt.Axis(tickCount=6, format="~g"), scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title=None, scale=scale, axis=axis)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, color=_colour(info))
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", scale=scale, title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=2.2).encode(y=y, strokeDash=_dash(info))
    thin = alt.Chart(alt.Data(values=random_rows)).mark_line(strokeWidth=0.9, opacity=0.8)
    random = thin.encode(x=x, y=y, detail="draw:N", color=_colour(info), strokeDash=_dash(info))
    full = alt.Chart(alt.Data(values=[{"alpha": 1}])).mark_rule(color=DARK, strokeWidth=0.8).encode(x=x)
    null = [{"value": info.null[field]}] if deviates else []  # type: ignore[index]
    chance = alt.Chart(alt.Data(values=null)).mark_rule(color=DARK, strokeDash=[2, 3]).encode(y=y)
    layers = [full, *([random] if random_rows else []), *([chance] if null else []), band, line]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=titles[field])


def _draw_path_panel(info: ScaleResult, kind: str) -> Any:
    error, ends = info.metric.kind == "error", (info.scales[0], 1.0, info.scales[-1])
    rows = [
        {
            "alpha": dose.scale,
            "deviation": getattr(dose, kind).value,
            "value": info.metric.to_display(dose.score.value),
            "label": f"α = {dose.scale:g}" if dose.scale in ends else "",
        }
        for dose in info.chosen.doses
    ]
    x_scale, x_axis = alt.Scale(zero=False, padding=25), alt.Axis(tickCount=5, format="~g")
    y_scale = alt.Scale(type="log", nice=False, padding=12) if error else alt.Scale(zero=False, padding=12)
    y_axis = alt.Axis(format="~g" if error else ".0%", tickCount=6)
    x = alt.X("deviation:Q", title=f"{kind} deviation of OOD from ID", scale=x_scale, axis=x_axis)
    y = alt.Y("value:Q", title=f"OOD {info.metric.name}", scale=y_scale, axis=y_axis)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    line = base.mark_line(color=GREY, strokeWidth=1.2).encode(order="alpha:Q")
    points = base.mark_point(filled=True, size=32, color=COLOURS["OOD"], opacity=1)
    labels = base.mark_text(align="left", dx=7, dy=-7, fontSize=12, color=DARK).encode(text="label:N")
    return alt.layer(line, points, labels).properties(width=WIDTH, height=HEIGHT)


def _curve_rows(info: ScaleResult, curve: Curve, name: str, field: str) -> list[dict[str, Any]]:
    """One line with its band; on a logarithmic axis a band that reaches 0 ends below the line's own lowest point."""
    estimates_by_alpha: dict[float, Estimate] = {dose.scale: getattr(dose, field) for dose in curve.doses}
    least = min(abs(estimate.value) for estimate in estimates_by_alpha.values()) / 2
    rows = []
    for alpha, estimate in estimates_by_alpha.items():
        low, high = sorted(_as_displayed(info, field, end) for end in estimate.ci95)
        low = low if field in ("score", "id_score") else max(low, least)
        value = _as_displayed(info, field, estimate.value)
        rows.append({"alpha": alpha, "value": value, "low": low, "high": high, "series": name})
    return rows


def _as_displayed(info: ScaleResult, field: str, number: float) -> float:
    """A number as people read it: an error without its minus sign."""
    return info.metric.to_display(number) if field in ("score", "id_score") else number


def _chosen_series(info: ScaleResult) -> str:
    return f"chosen: {info.chosen.description}"


def _random_series(info: ScaleResult) -> str:
    return f"{len(info.random_sets)} random sets of {info.chosen.drops.size}"


def _series_names(info: ScaleResult) -> list[str]:
    return [_chosen_series(info), info.all_of, *([_random_series(info)] if info.random_sets else [])]


def _colour(info: ScaleResult) -> alt.Color:
    scale = alt.Scale(domain=_series_names(info), range=[COLOURS["OOD"], COLOURS["ID"], GREY])
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2, orient="bottom", columns=3)
    return alt.Color("series:N", title=None, sort=None, scale=scale, legend=legend)


def _dash(info: ScaleResult) -> alt.StrokeDash:
    scale = alt.Scale(domain=_series_names(info), range=[[1, 0], [6, 3], [1, 0]])
    return alt.StrokeDash("series:N", title=None, sort=None, scale=scale)
