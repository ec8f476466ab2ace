"""Charts of a study with a point for each plan, cell, model or search; None where nothing was measured."""

from __future__ import annotations

from math import floor
from statistics import median
from typing import Any

import altair as alt

from tapioca.records import signed
from tapioca.report import format as words
from tapioca.report.figures import DARK, GREY
from tapioca.studies.page.scales import BLUE, LOG_RATIO_AXIS, ORANGE, add_title, count_axis, panel_title, zero_rule
from tapioca.studies.parts import Scatter
from tapioca.studies.results import SettingResult

BIN_WIDTH = 0.1


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
    ticks = sorted({size_point.parameters for size_point in setting.charts.sizes})
    label_by_size = {size: words.format_quantity(size) for size in ticks}
    label_expression = (
        " : ".join(f"datum.value == {size} ? '{label}'" for size, label in label_by_size.items()) + " : ''"
    )
    scale = alt.Scale(type="log", nice=False, padding=25)
    axis = alt.Axis(values=ticks, labelExpr=label_expression)
    x = alt.X("parameters:Q", title="parameters (logarithmic)", scale=scale, axis=axis)
    y = alt.Y(
        "log_ratio:Q",
        title=LOG_RATIO_AXIS,
        scale=alt.Scale(nice=False, padding=10),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    dots = [{"parameters": point.parameters, "log_ratio": point.log_ratio} for point in setting.charts.sizes]
    line = [
        {
            "parameters": point.parameters,
            "log_ratio": point.log_ratio.value,
            "low": point.log_ratio.ci95[0],
            "high": point.log_ratio.ci95[1],
        }
        for point in setting.charts.line
    ]
    dot_chart = alt.Chart(alt.Data(values=dots)).encode(x=x, y=y)
    points = dot_chart.mark_point(filled=True, size=60, color=ORANGE, opacity=0.9)
    base = alt.Chart(alt.Data(values=line)).encode(x=x)
    fitted = [
        base.mark_area(opacity=0.16, color=BLUE).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(color=BLUE, strokeDash=[6, 3]).encode(y=y),
    ]
    chart = alt.layer(zero_rule("y"), *(fitted if line else []), points).properties(width=430, height=240)
    return add_title(chart, "Log ratio by model size", setting)


def draw_log_ratios_by_labels(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Held-out log ratio by the number of labelled prompts that greedy search was given."""
    if not setting.labels:
        return None
    rows = [
        {
            "prompts": labelled.prompts,
            "log_ratio": labelled.log_ratio.value,
            "low": labelled.log_ratio.ci95[0],
            "high": labelled.log_ratio.ci95[1],
        }
        for labelled in setting.labels
    ]
    ticks = [row["prompts"] for row in rows]
    scale = alt.Scale(type="log", base=2, nice=False, padding=15)
    x = alt.X(
        "prompts:Q", title="labelled search prompts (logarithmic)", scale=scale, axis=alt.Axis(values=ticks, format="d")
    )
    y = alt.Y(
        "log_ratio:Q",
        title=LOG_RATIO_AXIS,
        scale=alt.Scale(nice=False, padding=10),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    band = base.mark_area(opacity=0.16, color=ORANGE).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(color=ORANGE, point=alt.OverlayMarkDef(size=50, color=ORANGE)).encode(y=y)
    chart = alt.layer(zero_rule("y"), band, line).properties(width=430, height=220)
    return add_title(chart, "Log ratio by the number of labelled prompts", setting)


_PROFILES = (("norm", "Norm profile"), ("distance", "Pairwise-distance profile"))


def _draw_plans(scatter_data: Scatter, kind: str, title: str, size: int | None) -> Any:
    series = {
        "other plans": (GREY, "circle"),
        f"plans that drop {size}, like greedy's": (BLUE, "triangle-up"),
        "greedy's plan": (ORANGE, "diamond"),
    }
    rows = [
        {
            "realignment": getattr(plan, kind),
            "log_ratio": plan.log_ratio,
            "who": list(series)[_series_index(plan.greedy, len(plan.drops) == size)],
        }
        for plan in scatter_data.plans
    ]
    rows.sort(key=lambda row: list(series).index(row["who"]))
    present_series = [name for name in series if any(row["who"] == name for row in rows)]
    legend = alt.Legend(orient="bottom", symbolOpacity=1, labelLimit=300)
    colour = alt.Scale(domain=present_series, range=[series[name][0] for name in present_series])
    shape = alt.Scale(domain=present_series, range=[series[name][1] for name in present_series])
    x = alt.X("realignment:Q", title="realignment, mean |log ratio| removed", axis=alt.Axis(format="~g", tickCount=6))
    points = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=x,
            y=alt.Y("log_ratio:Q", title=LOG_RATIO_AXIS, axis=alt.Axis(format="~g", tickCount=6)),
            color=alt.Color("who:N", title=None, sort=None, scale=colour, legend=legend),
            shape=alt.Shape("who:N", title=None, sort=None, scale=shape, legend=legend),
            size=alt.condition('datum.who == "greedy\'s plan"', alt.value(150), alt.value(30)),
        )
    )
    return alt.layer(zero_rule("y"), zero_rule("x"), points).properties(width=360, height=260, title=panel_title(title))


def _series_index(greedy: bool, same_size: bool) -> int:
    return 2 if greedy else 1 if same_size else 0


def _draw_histogram(coefficients: tuple[float, ...], title: str) -> Any:
    counts: dict[int, int] = {}
    last_bin = round(1 / BIN_WIDTH) - 1
    for coefficient in coefficients:
        bin_index = min(floor(round(coefficient / BIN_WIDTH, 9)), last_bin)  # 0.2 / 0.1 is a little less than 2
        counts[bin_index] = counts.get(bin_index, 0) + 1
    rows = [
        {"from": bin_index * BIN_WIDTH, "to": (bin_index + 1) * BIN_WIDTH, "cells": count}
        for bin_index, count in sorted(counts.items())
    ]
    median_coefficient = median(coefficients)
    axis = alt.Axis(format="~g", tickCount=5)
    scale = alt.Scale(domain=[-1, 1])
    x = alt.X("from:Q", title="rank correlation of realignment with log ratio", scale=scale, axis=axis)
    y = alt.Y("cells:Q", title="cells", axis=count_axis(max(counts.values())))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(color="#9ecae1", stroke=DARK, strokeWidth=0.6)
    bars = bars.encode(x=x, x2="to:Q", y=y, y2=alt.datum(0))
    rule = alt.Chart(alt.Data(values=[{"from": median_coefficient}])).mark_rule(
        color=ORANGE, strokeWidth=2, strokeDash=[5, 3]
    )
    heading = panel_title(
        f"{title}: {len(coefficients)} cell{'' if len(coefficients) == 1 else 's'}, median {signed(median_coefficient, 2)} (dashed)"
    )
    return alt.layer(bars, zero_rule("x"), rule.encode(x="from:Q")).properties(width=360, height=190, title=heading)
