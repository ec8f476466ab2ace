"""Charts of a study with a point for each plan, cell, model or search; None where nothing was measured."""

from collections import Counter
from math import floor
from statistics import median
from typing import Any

import altair as alt

from tapioca.records import PROFILE_NAMES, signed
from tapioca.report import format as words
from tapioca.report.figures import DARK, GREY, estimate_row, hold_rows, rule_at
from tapioca.studies.label_parts import LabelCurve
from tapioca.studies.page.scales import (
    BLUE,
    LOG_RATIO_AXIS,
    ORANGE,
    Look,
    add_title,
    count_axis,
    draw_banded_line,
    encode_series,
    panel_title,
    value_axis,
)
from tapioca.studies.page.text import count_in_words
from tapioca.studies.parts import Scatter
from tapioca.studies.results import SettingResult

BIN_WIDTH = 0.1
NAMES_ABOVE_EACH_OTHER = 18
"""Names of lines that a chart has room for."""


def draw_plan_scatter(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Realignment against log ratio over all plans of the example cell."""
    scatter_data = setting.charts.scatter
    if scatter_data is None or not scatter_data.plans:
        return None
    size = next((len(plan.drops) for plan in scatter_data.plans if plan.greedy), None)
    charts = [_draw_plans(scatter_data, kind, title, size) for kind, title in _PROFILES]
    subtitle = f"one cell: {scatter_data.model} on {scatter_data.task}"
    return add_title(alt.hconcat(*charts), "Realignment against log ratio, all plans", setting, subtitle)


def draw_correlations(setting: SettingResult) -> alt.TopLevelMixin | None:
    """How the rank correlations of realignment with log ratio are spread over all cells."""
    scatter_data = setting.charts.scatter
    if scatter_data is None or not (scatter_data.norm or scatter_data.distance):
        return None
    charts = [
        _draw_histogram(getattr(scatter_data, kind), title) for kind, title in _PROFILES if getattr(scatter_data, kind)
    ]
    return add_title(
        alt.hconcat(*charts), "Realignment and log ratio over plans of one size: correlations of all cells", setting
    )


def draw_log_ratios_by_size(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Mean log ratio of every model by its size, with the regression line and its band."""
    if not setting.charts.sizes:
        return None
    sizes = sorted({point.parameters for point in setting.charts.sizes})
    labels = " : ".join(f"datum.value == {size} ? '{words.format_quantity(size)}'" for size in sizes) + " : ''"
    x = alt.X(
        "x:Q",
        title="parameters (logarithmic)",
        scale=alt.Scale(type="log", nice=False, padding=25),
        axis=alt.Axis(values=sizes, labelExpr=labels),
    )
    y = value_axis(LOG_RATIO_AXIS)
    dots = [{"x": point.parameters, "value": point.log_ratio} for point in setting.charts.sizes]
    line = [estimate_row(point.log_ratio, x=point.parameters) for point in setting.charts.line]
    points = alt.Chart(hold_rows(dots)).mark_point(filled=True, size=60, color=ORANGE, opacity=0.9)
    fitted = draw_banded_line(line, x, y, BLUE, strokeDash=[6, 3])
    chart = alt.layer(rule_at("y", 0, strokeWidth=0.8), *fitted, points.encode(x=x, y=y)).properties(
        width=430, height=240
    )
    return add_title(chart, "Log ratio by model size", setting)


def draw_log_ratios_by_labels(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Held-out log ratio by the number of labelled prompts that greedy search was given, and of criteria without any as
    horizontal lines where these were measured, at the same strength."""
    curve = setting.label_curve
    points = curve.points if curve else setting.labels
    if not points:
        return None
    rows = [estimate_row(labelled.log_ratio, x=labelled.prompts) for labelled in points]
    x = alt.X(
        "x:Q",
        title="labelled search prompts (logarithmic)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=15),
        axis=alt.Axis(values=[row["x"] for row in rows], format="d"),
    )
    marks = alt.OverlayMarkDef(size=50, color=ORANGE)
    layers = [rule_at("y", 0, strokeWidth=0.8)]
    if curve:
        layers += _draw_criteria(curve, x)
    layers += draw_banded_line(rows, x, value_axis(LOG_RATIO_AXIS), ORANGE, point=marks)
    chart = alt.layer(*layers).properties(width=430, height=220)
    return add_title(chart, "Log ratio by the number of labelled prompts", setting)


def _draw_criteria(curve: LabelCurve, x: alt.X) -> list[alt.Chart]:
    """A line for each criterion, and its name behind it, as near to it as the other names allow."""
    first, last = (float(point.prompts) for point in (curve.points[0], curve.points[-1]))
    criteria = sorted(curve.criteria, key=lambda criterion: criterion.log_ratio.value)
    values = [criterion.log_ratio.value for criterion in criteria]
    bounds = [bound for point in curve.points for bound in point.log_ratio.ci95]
    places = spread_apart(values, (max(*bounds, *values) - min(*bounds, *values)) / NAMES_ABOVE_EACH_OTHER)
    rows = [
        {"x": first, "end": last, "value": criterion.log_ratio.value, "place": place, "name": criterion.name}
        for criterion, place in zip(criteria, places, strict=True)
    ]
    base = alt.Chart(hold_rows(rows))
    lines = base.mark_rule(color=BLUE, strokeDash=[4, 3]).encode(x=x, x2="end:Q", y="value:Q")
    texts = base.mark_text(align="left", dx=8, color=BLUE, fontSize=10)
    return [lines, texts.encode(x=alt.X("end:Q"), y="place:Q", text="name:N")]


def spread_apart(values: list[float], gap: float) -> list[float]:
    """Places for ascending values, at least a gap apart and about as far below as above where they had to move."""
    places = list(values)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    shift = sum(place - value for place, value in zip(places, values, strict=True)) / max(len(values), 1)
    return [place - shift for place in places]


_PROFILES = tuple((kind, f"{name.capitalize()} profile") for kind, name in PROFILE_NAMES.items())


def _draw_plans(scatter_data: Scatter, kind: str, title: str, size: int | None) -> Any:
    looks: dict[str, Look] = {
        "other plans": (GREY, [], "circle"),
        f"plans that drop {size}, like greedy's": (BLUE, [], "triangle-up"),
        "greedy's plan": (ORANGE, [], "diamond"),
    }
    others, peers, greedy = looks
    rows = [
        {
            "realignment": getattr(plan, kind),
            "value": plan.log_ratio,
            "series": greedy if plan.greedy else peers if len(plan.drops) == size else others,
        }
        for plan in scatter_data.plans
    ]
    rows.sort(key=lambda row: list(looks).index(row["series"]))  # greedy's is drawn last, above the others
    axis = alt.Axis(format="~g", tickCount=6)
    points = (
        alt.Chart(hold_rows(rows))
        .mark_point(filled=True, opacity=1, fillOpacity=0.85)
        .encode(
            x=alt.X("realignment:Q", title="realignment, mean |log ratio| removed", axis=axis),
            y=alt.Y("value:Q", title=LOG_RATIO_AXIS, axis=axis),
            size=alt.condition('datum.series == "greedy\'s plan"', alt.value(150), alt.value(30)),
            **encode_series(rows, "color", "shape", looks=looks),
        )
    )
    return alt.layer(rule_at("y", 0, strokeWidth=0.8), rule_at("x", 0, strokeWidth=0.8), points).properties(
        width=360, height=260, title=panel_title(title)
    )


def _draw_histogram(coefficients: tuple[float, ...], title: str) -> Any:
    last_bin = round(1 / BIN_WIDTH) - 1
    counts = Counter(  # rounded, as 0.3 / 0.1 is a little less than 3
        min(floor(round(coefficient / BIN_WIDTH, 9)), last_bin) for coefficient in coefficients
    )
    rows = [
        {"from": bin_index * BIN_WIDTH, "to": (bin_index + 1) * BIN_WIDTH, "cells": count}
        for bin_index, count in sorted(counts.items())
    ]
    median_coefficient = median(coefficients)
    axis = alt.Axis(format="~g", tickCount=5)
    scale = alt.Scale(domain=[-1, 1])
    x = alt.X("from:Q", title="rank correlation of realignment with log ratio", scale=scale, axis=axis)
    y = alt.Y("cells:Q", title="cells", axis=count_axis(max(counts.values())))
    bars = alt.Chart(hold_rows(rows)).mark_bar(color="#9ecae1", stroke=DARK, strokeWidth=0.6)
    bars = bars.encode(x=x, x2="to:Q", y=y, y2=alt.datum(0))
    rule = alt.Chart(alt.Data(values=[{"from": median_coefficient}])).mark_rule(
        color=ORANGE, strokeWidth=2, strokeDash=[5, 3]
    )
    heading = panel_title(
        f"{title}: {count_in_words(len(coefficients), 'cell')}, median {signed(median_coefficient, 2)} (dashed)"
    )
    return alt.layer(bars, rule_at("x", 0, strokeWidth=0.8), rule.encode(x="from:Q")).properties(
        width=360, height=190, title=heading
    )
