"""Charts of a dose-response. Hue, dash and width agree, so that they can be read in print and by colour-blind people."""

from typing import Any

import altair as alt

from tapioca.commands.scale.result import Curve, ScaleResult
from tapioca.records import PROFILE_NAMES, Estimate
from tapioca.report import figures


def draw_responses(info: ScaleResult) -> alt.TopLevelMixin:
    """Scores and deviations over the scale: the chosen layers and all layers with 95 % bands, random sets as thin lines."""
    panels = ["score", *(["id_score"] if "id" in info.examples else [])]
    panels += PROFILE_NAMES if info.observed else ()
    return alt.concat(*[_draw_response_panel(info, field) for field in panels], columns=2).resolve_scale(x="shared")


def draw_score_by_deviation(info: ScaleResult) -> alt.TopLevelMixin:
    """OOD score against each deviation, along the scales of the chosen layers."""
    return alt.hconcat(*[_draw_path_panel(info, kind) for kind in PROFILE_NAMES])


def _draw_response_panel(info: ScaleResult, field: str) -> Any:
    titles: dict[str, str] = {
        "score": f"OOD {info.metric.name}",
        "id_score": f"ID {info.metric.name}",
        **{kind: f"{kind} deviation of OOD from ID" for kind in PROFILE_NAMES},
    }
    deviates = field in PROFILE_NAMES
    measured = {"axis": alt.Axis(format="~g", tickCount=6), "scale": alt.Scale(type="log", nice=False)}
    axis = {"title": None, **measured} if deviates else figures.value_axis(info.metric, None)
    looks = _series_looks(info)
    chosen, every, random = looks
    rows = [*_curve_rows(info, info.every, every, field), *_curve_rows(info, info.chosen, chosen, field)]
    random_rows = [
        {"alpha": alpha, "value": _as_displayed(info, field, outcome), "draw": number, "series": random}
        for number, draw in enumerate(info.random_sets)
        for alpha, outcome in zip(info.scales, getattr(draw, field, ()), strict=False)
    ]
    x = alt.X("alpha:Q", title="α", axis=alt.Axis(tickCount=6, format="~g"), scale=alt.Scale(nice=False))
    shown = looks if info.random_sets else (chosen, every)
    encodings = figures.encode_by_series(shown, looks, orient="bottom", columns=3)
    y = alt.Y("value:Q", **axis)
    base = figures.plot(rows, x=x, color=encodings["color"])
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", **axis), y2="high:Q")
    line = base.mark_line(strokeWidth=2.2).encode(y=y, strokeDash=encodings["strokeDash"])
    layers = [figures.rule_at("x", 1, strokeWidth=0.8)]
    if random_rows:
        thin = figures.plot(random_rows, x=x, y=y, detail="draw:N", **encodings)
        layers.append(thin.mark_line(strokeWidth=0.9, opacity=0.8))
    if deviates:
        layers.append(figures.rule_at("y", info.null[field], strokeDash=[2, 3]))  # type: ignore[index]
    layers += [band, line]
    return alt.layer(*layers).properties(width=figures.WIDTH, height=figures.HEIGHT, title=titles[field])


def _draw_path_panel(info: ScaleResult, kind: str) -> Any:
    ends = (info.scales[0], 1.0, info.scales[-1])
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
    x = alt.X("deviation:Q", title=f"{kind} deviation of OOD from ID", scale=x_scale, axis=x_axis)
    base = figures.plot(rows, x=x, y=alt.Y("value:Q", **figures.value_axis(info.metric, f"OOD {info.metric.name}")))
    line = base.mark_line(color=figures.GREY, strokeWidth=1.2).encode(order="alpha:Q")
    points = base.mark_point(filled=True, size=32, color=figures.COLOURS["OOD"], opacity=1)
    return alt.layer(line, points, figures.label_points(base)).properties(width=figures.WIDTH, height=figures.HEIGHT)


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


def _series_looks(info: ScaleResult) -> dict[str, tuple[str, list[int]]]:
    """Colour and dash of the chosen layers, of all, and of the random sets."""
    return {
        f"chosen: {info.chosen.description}": (figures.COLOURS["OOD"], figures.SOLID),
        info.all_of: (figures.COLOURS["ID"], figures.DASHED),
        f"{len(info.random_sets)} random sets of {info.chosen.drops.size}": (figures.GREY, figures.SOLID),
    }
