"""Charts of a study with a point for each plan, cell, model or search; None where nothing was measured."""

from __future__ import annotations

from math import floor
from statistics import median
from typing import Any

import altair as alt

from tapioca.records import signed
from tapioca.report import words
from tapioca.report.figures import DARK, GREY
from tapioca.studies.page.scales import BLUE, LOG_RATIO_AXIS, ORANGE, count_axis, panel_title, titled, zero
from tapioca.studies.parts import Scatter
from tapioca.studies.results import SettingFound

BIN = 0.1


def scatter(setting: SettingFound) -> alt.TopLevelMixin | None:
    """Realignment against log ratio over all plans of the example cell."""
    found = setting.charts.scatter
    if found is None or not found.plans:
        return None
    size = next((len(plan.drops) for plan in found.plans if plan.greedy), None)
    drawn = [_plans(found, kind, title, size) for kind, title in _PROFILES]
    where = f"one cell: {found.model} on {found.task}"
    return titled(alt.hconcat(*drawn), "Realignment against log ratio, all plans", setting, where)


def correlations(setting: SettingFound) -> alt.TopLevelMixin | None:
    """How the rank correlations of realignment with log ratio are spread over all cells."""
    found = setting.charts.scatter
    if found is None or not (found.norm or found.distance):
        return None
    drawn = [_histogram(getattr(found, kind), title) for kind, title in _PROFILES if getattr(found, kind)]
    return titled(
        alt.hconcat(*drawn), "Realignment and log ratio over plans of one size: correlations of all cells", setting
    )


def sizes(setting: SettingFound) -> alt.TopLevelMixin | None:
    """Mean log ratio of every model by its size, with the regression line and its band."""
    if not setting.charts.sizes:
        return None
    ticks = sorted({point.parameters for point in setting.charts.sizes})
    labels = {size: words.quantity(size) for size in ticks}
    names = " : ".join(f"datum.value == {size} ? '{label}'" for size, label in labels.items()) + " : ''"
    scale = alt.Scale(type="log", nice=False, padding=25)
    x = alt.X(
        "parameters:Q", title="parameters (logarithmic)", scale=scale, axis=alt.Axis(values=ticks, labelExpr=names)
    )
    y = alt.Y(
        "log_ratio:Q",
        title=LOG_RATIO_AXIS,
        scale=alt.Scale(nice=False, padding=10),
        axis=alt.Axis(format="~g", tickCount=6),
    )
    dots = [{"parameters": one.parameters, "log_ratio": one.log_ratio} for one in setting.charts.sizes]
    line = [
        {
            "parameters": one.parameters,
            "log_ratio": one.log_ratio.value,
            "low": one.log_ratio.ci95[0],
            "high": one.log_ratio.ci95[1],
        }
        for one in setting.charts.line
    ]
    points = (
        alt.Chart(alt.Data(values=dots)).mark_point(filled=True, size=60, color=ORANGE, opacity=0.9).encode(x=x, y=y)
    )
    base = alt.Chart(alt.Data(values=line)).encode(x=x)
    fitted = [
        base.mark_area(opacity=0.16, color=BLUE).encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(color=BLUE, strokeDash=[6, 3]).encode(y=y),
    ]
    chart = alt.layer(zero("y"), *(fitted if line else []), points).properties(width=430, height=240)
    return titled(chart, "Log ratio by model size", setting)


def labels(setting: SettingFound) -> alt.TopLevelMixin | None:
    """Held-out log ratio by the number of labelled prompts that greedy search was given."""
    if not setting.labels:
        return None
    rows = [
        {
            "prompts": one.prompts,
            "log_ratio": one.log_ratio.value,
            "low": one.log_ratio.ci95[0],
            "high": one.log_ratio.ci95[1],
        }
        for one in setting.labels
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
    chart = alt.layer(zero("y"), band, line).properties(width=430, height=220)
    return titled(chart, "Log ratio by the number of labelled prompts", setting)


_PROFILES = (("norm", "Norm profile"), ("distance", "Pairwise-distance profile"))


def _plans(found: Scatter, kind: str, title: str, size: int | None) -> Any:
    series = {
        "other plans": (GREY, "circle"),
        f"plans that drop {size}, like greedy's": (BLUE, "triangle-up"),
        "greedy's plan": (ORANGE, "diamond"),
    }
    rows = [
        {
            "realignment": getattr(plan, kind),
            "log_ratio": plan.log_ratio,
            "who": list(series)[_role(plan.greedy, len(plan.drops) == size)],
        }
        for plan in found.plans
    ]
    rows.sort(key=lambda row: list(series).index(row["who"]))
    shown = [name for name in series if any(row["who"] == name for row in rows)]
    legend = alt.Legend(orient="bottom", symbolOpacity=1, labelLimit=300)
    colour = alt.Scale(domain=shown, range=[series[name][0] for name in shown])
    shape = alt.Scale(domain=shown, range=[series[name][1] for name in shown])
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
    return alt.layer(zero("y"), zero("x"), points).properties(width=360, height=260, title=panel_title(title))


def _role(greedy: bool, same_size: bool) -> int:
    return 2 if greedy else 1 if same_size else 0


def _histogram(values: tuple[float, ...], title: str) -> Any:
    counts: dict[int, int] = {}
    last = round(1 / BIN) - 1
    for value in values:
        at = min(floor(round(value / BIN, 9)), last)  # 0.2 / 0.1 is a little less than 2
        counts[at] = counts.get(at, 0) + 1
    rows = [{"from": at * BIN, "to": (at + 1) * BIN, "cells": count} for at, count in sorted(counts.items())]
    middle = median(values)
    axis = alt.Axis(format="~g", tickCount=5)
    scale = alt.Scale(domain=[-1, 1])
    x = alt.X("from:Q", title="rank correlation of realignment with log ratio", scale=scale, axis=axis)
    y = alt.Y("cells:Q", title="cells", axis=count_axis(max(counts.values())))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(color="#9ecae1", stroke=DARK, strokeWidth=0.6)
    bars = bars.encode(x=x, x2="to:Q", y=y, y2=alt.datum(0))
    rule = alt.Chart(alt.Data(values=[{"from": middle}])).mark_rule(color=ORANGE, strokeWidth=2, strokeDash=[5, 3])
    told = panel_title(
        f"{title}: {len(values)} cell{'' if len(values) == 1 else 's'}, median {signed(middle, 2)} (dashed)"
    )
    return alt.layer(bars, zero("x"), rule.encode(x="from:Q")).properties(width=360, height=190, title=told)
