"""Records -> charts. Each chart is readable alone, in print, and by colour-blind people: hue, dash and label agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt

from tapioca.plan import GRAINS, Plan
from tapioca.records import Deviation, Estimate, HeldOutResult, Profile, RunInfo
from tapioca.search.floor import find_floor

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


def draw_search_path(info: RunInfo) -> alt.TopLevelMixin:
    """Every plan not stopped early, by layers dropped; the line is the path taken, the rule its floor where it has one."""
    metric = info.metric
    baseline = info.checks["ood"].full
    path = [{"dropped": 0, "value": metric.to_display(baseline), "label": "full model"}]
    tried: list[dict[str, Any]] = []
    before = Plan.full(info.plan.n_layers)
    for search_round in info.rounds:
        winner = search_round.winner.plan
        tried += [
            {"dropped": trial.plan.size, "value": metric.to_display(trial.score), "plan": str(trial.plan)}
            for trial in search_round.trials
            if trial.n_scored is None
        ]
        if search_round.accepted:
            value = metric.to_display(search_round.winner.score)
            path.append({"dropped": winner.size, "value": value, "label": _label_step(before, winner)})
            before = winner
    title = "layers dropped" if all(entry.winner.plan.drops for entry in info.rounds) else "branches dropped"
    x = alt.X("dropped:Q", title=title, axis=_integer_axis(range(len(info.rounds) + 1)))
    scale = alt.Scale(zero=False) if metric.kind == "accuracy" else alt.Scale(type="log", nice=False)
    score_axis = alt.Axis(format=".0%" if metric.kind == "accuracy" else "~g")
    y = alt.Y("value:Q", title=f"{metric.name}, search split", scale=scale, axis=score_axis)
    points = alt.Chart(alt.Data(values=tried)).mark_point(color=GREY, size=22, opacity=0.8).encode(x=x, y=y)
    point = alt.OverlayMarkDef(color=DARK, size=45)
    line = alt.Chart(alt.Data(values=path)).mark_line(color=DARK, point=point).encode(x=x, y=y)
    labels = line.mark_text(dx=7, dy=-8, align="left", fontSize=11, color=DARK).encode(text="label:N")
    scores = [] if info.epsilon is None else [find_floor(metric, baseline, info.epsilon)]
    floor = alt.Data(values=[{"value": metric.to_display(score)} for score in scores])
    rule = alt.Chart(floor).mark_rule(color="#CC79A7", strokeDash=[4, 3]).encode(y=y)
    return alt.layer(points, rule, line, labels).properties(width=FULL_WIDTH, height=HEIGHT)


def _label_step(before: Plan, after: Plan) -> str:
    """What a plan drops beyond the one before it; the whole plan where the two differ by more than one drop."""
    new = [(grain, layer) for grain in GRAINS for layer in set(after.dropped(grain)) - set(before.dropped(grain))]
    if len(new) != 1 or after.size != before.size + 1:
        return str(after)
    grain, layer = new[0]
    return f"−{layer}" if grain == "layers" else f"−{grain} {layer}"


def draw_gains(info: RunInfo) -> alt.TopLevelMixin:
    """Held-out effect of every judged plan with its interval; the ticks are random plans of equal size.

    Accuracies: difference to the full model, 0 is no change. Errors: multiple of the full model's
    error on a logarithmic scale, 1 is no change.
    """
    error = info.metric.kind == "error"
    judged = [judgement for judgement in info.judgements if not judgement.plan.is_full]
    rows = [_effect_row(judgement) for judgement in judged]
    ticks = [
        {**row, "random": info.metric.effect(random_gain)}
        for row, judgement in zip(rows, judged, strict=True)
        for random_gain in judgement.random
    ]
    scale = alt.Scale(type="log", nice=False, padding=12) if error else alt.Scale(padding=12)
    title = "error, as a multiple of the full model's" if error else "gain over the full model"
    axis = alt.Axis(format="~g" if error else "+.1%")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)

    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=320))
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    interval = base.mark_rule(strokeWidth=3).encode(x=x("low"), x2="high:Q", color=_data_colour())
    point = base.mark_point(filled=True, size=90, opacity=1).encode(x=x("effect"), color=_data_colour())
    random = alt.Chart(alt.Data(values=ticks)).mark_tick(color=GREY, thickness=1.5, size=16).encode(x=x("random"), y=y)
    none = alt.Chart(alt.Data(values=[{"none": info.metric.effect(0)}])).mark_rule(color=DARK).encode(x=x("none"))
    return alt.layer(random, none, interval, point).properties(width=FULL_WIDTH - 60, height=34 * max(1, len(rows)))


def draw_profiles(measured_profiles: tuple[Profile, ...]) -> alt.TopLevelMixin:
    """Norm and pairwise-distance profiles, side by side, with 95 % bands."""
    titles = {"norm": "mean norm", "distance": "mean pairwise distance"}
    return alt.hconcat(*[_draw_profile(measured_profiles, kind, title) for kind, title in titles.items()])


def draw_deviations(measured_deviations: tuple[Deviation, ...]) -> alt.TopLevelMixin:
    """Deviation from the ID reference with intervals; the black tick is the 95th percentile of the ID-vs-ID null."""
    panels = []
    for kind, title in (("norm", "norm profile"), ("distance", "pairwise-distance profile")):
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
        panels.append(alt.layer(bar, interval, null).properties(width=WIDTH - 60, height=height, title=title))
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


def _effect_row(judgement: HeldOutResult) -> dict[str, Any]:
    effect, low, high = map(judgement.result.metric.effect, (judgement.result.gain, *judgement.result.ci95))
    name = f"{judgement.data.upper()}: {judgement.plan}" + ("" if judgement.role == "best" else f" ({judgement.role})")
    return {"name": name, "data": judgement.data.upper(), "effect": effect, "low": low, "high": high}


def _data_colour() -> alt.Color:
    scale = alt.Scale(domain=["ID", "OOD"], range=[COLOURS["ID"], COLOURS["OOD"]])
    return alt.Color("data:N", legend=None, scale=scale)


def _series_colour(field: str) -> alt.Color:
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def _integer_axis(numbers: Iterable[int]) -> alt.Axis:
    """An axis with ticks at whole numbers only, thinned where there are many."""
    ticks = list(numbers)
    return alt.Axis(values=ticks[:: 1 + len(ticks) // 17], format="d")
