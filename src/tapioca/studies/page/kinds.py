"""Charts of a study with a row for each kind of shift; None where nothing was measured."""

from __future__ import annotations

from typing import Any

import altair as alt

from tapioca.report.figures import DARK
from tapioca.studies.page.scales import BLUE, LOG_RATIO_AXIS, ORANGE, count_axis, panel_title, titled, zero
from tapioca.studies.page.text import kind_name
from tapioca.studies.parts import TRUTHS, KindSummary, Pooled
from tapioca.studies.results import SettingFound

FILLS = {"in distribution": "#f0f0f0", "distorted": ORANGE, "misaligned": "#084594", "undecided": "#bdbdbd"}
SKILLS = {"full model": (BLUE, "square"), "greedy's plan": (ORANGE, "circle"), "ridge": (DARK, "diamond")}


def kinds(setting: SettingFound) -> alt.TopLevelMixin | None:
    """Log ratio and both deviations of every kind of shift, with intervals."""
    panels = (
        ("Log ratio of greedy's plan", LOG_RATIO_AXIS, "log_ratio"),
        ("Norm deviation over its null", "mean |log ratio|", "norm"),
        ("Distance deviation over its null", "mean |log ratio|", "distance"),
    )
    drawn = [_forest(setting.summaries, *panel, labelled=at == 0) for at, panel in enumerate(panels)]
    if not any(one.log_ratio for one in setting.summaries):
        return None
    return titled(alt.hconcat(*drawn, spacing=14), "Which kinds of shift bring a gain, and which deviate", setting)


def skills(setting: SettingFound) -> alt.TopLevelMixin | None:
    """Skill of the full model, of greedy's plan and of ridge regression, kind by kind."""
    if not setting.skills:
        return None
    rows = [
        {"kind": kind_name(one.kind, one.control), "who": who, "skill": max(value, -1)}
        for one in setting.skills
        for who, value in zip(SKILLS, (one.full, one.pruned, one.ridge), strict=True)
    ]
    names = [kind_name(one.kind, one.control) for one in setting.skills]
    y = alt.Y("kind:N", sort=names, title=None, axis=alt.Axis(labelLimit=220, grid=True, ticks=False))
    least = max(-1.0, min(0.0, *(min(one.full, one.pruned, one.ridge) for one in setting.skills)))
    scale = alt.Scale(domain=[least - 0.05, 1.05], nice=False)
    x = alt.X("skill:Q", title="skill: 1 - error / error of the constant", scale=scale)
    legend = alt.Legend(orient="bottom", symbolOpacity=1)
    colour = alt.Scale(domain=list(SKILLS), range=[look[0] for look in SKILLS.values()])
    shape = alt.Scale(domain=list(SKILLS), range=[look[1] for look in SKILLS.values()])
    points = alt.Chart(alt.Data(values=rows)).mark_point(size=75, strokeWidth=2, opacity=1)
    points = points.encode(
        x=x,
        y=y,
        color=alt.Color("who:N", title=None, sort=None, scale=colour, legend=legend),
        shape=alt.Shape("who:N", title=None, sort=None, scale=shape, legend=legend),
    )
    chart = alt.layer(zero("x"), points).properties(width=520, height=24 * len(names))
    return titled(chart, "Skill beside ridge regression", setting)


def truths(setting: SettingFound) -> alt.TopLevelMixin | None:
    """How many cells of every kind truly are in distribution, distorted, misaligned or undecided."""
    rows = []
    for one in setting.summaries:
        start = 0
        for truth in TRUTHS:
            count = one.truths.get(truth, 0)
            row = {"kind": kind_name(one.kind, one.control), "truth": truth, "from": start, "to": start + count}
            rows += [row | {"middle": start + count / 2, "count": str(count)}] if count else []
            start += count
    if not rows:
        return None
    names = [kind_name(one.kind, one.control) for one in setting.summaries]
    most = max(sum(one.truths.values()) for one in setting.summaries)
    y = alt.Y("kind:N", sort=names, title=None, axis=alt.Axis(labelLimit=220, ticks=False))
    scale = alt.Scale(domain=list(FILLS), range=list(FILLS.values()))
    legend = alt.Legend(orient="bottom", symbolType="square", symbolStrokeColor=DARK)
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    bar = base.mark_bar(stroke=DARK, strokeWidth=0.6, height=16).encode(
        x=alt.X("from:Q", title="cells (model, strength)", axis=count_axis(most)),
        x2="to:Q",
        fill=alt.Fill("truth:N", title=None, sort=None, scale=scale, legend=legend),
    )
    ink = alt.condition(
        "datum.truth == 'misaligned' || datum.truth == 'distorted'", alt.value("white"), alt.value("black")
    )
    text = base.mark_text(fontSize=11).encode(x="middle:Q", text="count:N", color=ink)
    chart = alt.layer(bar, text).properties(width=520, height=22 * len(names))
    return titled(chart, "What cells truly are, kind by kind", setting)


def _forest(found: tuple[KindSummary, ...], title: str, axis: str, name: str, labelled: bool) -> Any:
    rows = []
    for one in found:
        value: Pooled | None = getattr(one, name)
        if value is not None:
            row = {"kind": kind_name(one.kind, one.control), "control": one.control, "value": value.value}
            rows.append(row | {"low": value.ci95[0], "high": value.ci95[1]})
    names = [kind_name(one.kind, one.control) for one in found]
    y = alt.Y(
        "kind:N",
        sort=names,
        scale=alt.Scale(domain=names),
        title=None,
        axis=alt.Axis(labelLimit=220, labels=labelled, ticks=False, grid=True),
    )
    x = alt.X("value:Q", title=axis, scale=alt.Scale(nice=False, padding=10), axis=alt.Axis(format="~g", tickCount=4))
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    interval = base.mark_rule(strokeWidth=2, color=DARK).encode(x=alt.X("low:Q"), x2="high:Q")
    hollow = alt.condition("datum.control", alt.value("white"), alt.value(ORANGE))
    point = base.mark_point(size=60, stroke=DARK, strokeWidth=1.2, opacity=1).encode(x=x, fill=hollow)
    return alt.layer(zero("x"), interval, point).properties(title=panel_title(title), width=250, height=22 * len(names))
