"""Charts of a study with a row for each kind of shift; None where nothing was measured."""

from typing import Any

import altair as alt

from tapioca.records import PROFILE_NAMES
from tapioca.report.figures import DARK, estimate_row, hold_rows, rule_at
from tapioca.studies.page.scales import (
    BLUE,
    LOG_RATIO_AXIS,
    ORANGE,
    Look,
    add_title,
    count_axis,
    encode_series,
    kind_axis,
    panel_title,
)
from tapioca.studies.page.text import kind_name
from tapioca.studies.parts import TRUTHS, KindSummary
from tapioca.studies.results import SettingResult

TRUTH_FILLS = {"in distribution": "#f0f0f0", "distorted": ORANGE, "misaligned": "#084594", "undecided": "#bdbdbd"}
PREDICTOR_LOOKS: dict[str, Look] = {
    "full model": (BLUE, [], "square"),
    "greedy's plan": (ORANGE, [], "circle"),
    "ridge": (DARK, [], "diamond"),
}
FIELD_BY_PREDICTOR = {"full model": "full", "greedy's plan": "pruned", "ridge": "ridge"}


def draw_kinds(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Log ratio and both deviations of every kind of shift, with intervals."""
    panels = (
        ("Log ratio of greedy's plan", LOG_RATIO_AXIS, "log_ratio"),
        *((f"{kind.capitalize()} deviation over its null", "mean |log ratio|", kind) for kind in PROFILE_NAMES),
    )
    charts = [_draw_forest(setting.summaries, *panel, labelled=index == 0) for index, panel in enumerate(panels)]
    if not any(summary.log_ratio for summary in setting.summaries):
        return None
    return add_title(alt.hconcat(*charts, spacing=14), "Which kinds of shift bring a gain, and which deviate", setting)


def draw_skills(setting: SettingResult) -> alt.TopLevelMixin | None:
    """Skill of the full model, of greedy's plan and of ridge regression, kind by kind."""
    if not setting.skills:
        return None
    rows = [
        {"kind": kind_name(skills.kind, skills.control), "series": series, "skill": max(getattr(skills, field), -1.0)}
        for skills in setting.skills
        for series, field in FIELD_BY_PREDICTOR.items()
    ]
    names = list(dict.fromkeys(row["kind"] for row in rows))
    scale = alt.Scale(domain=[min(0.0, *(row["skill"] for row in rows)) - 0.05, 1.05], nice=False)
    points = alt.Chart(hold_rows(rows)).mark_point(size=75, strokeWidth=2, opacity=1)
    points = points.encode(
        x=alt.X("skill:Q", title="skill: 1 - error / error of the constant", scale=scale),
        y=kind_axis(names, grid=True),
        **encode_series(rows, "color", "shape", looks=PREDICTOR_LOOKS, outline=2),
    )
    chart = alt.layer(rule_at("x", 0, strokeWidth=0.8), points).properties(width=520, height=24 * len(names))
    return add_title(chart, "Skill beside ridge regression", setting)


def draw_truths(setting: SettingResult) -> alt.TopLevelMixin | None:
    """How many cells of every kind truly are in distribution, distorted, misaligned or undecided."""
    rows = []
    for summary in setting.summaries:
        start = 0
        for truth in TRUTHS:
            count = summary.truths.get(truth, 0)
            row = {"kind": kind_name(summary.kind, summary.control), "truth": truth, "from": start, "to": start + count}
            rows += [row | {"middle": start + count / 2, "count": str(count)}] if count else []
            start += count
    if not rows:
        return None
    kind_names = [kind_name(summary.kind, summary.control) for summary in setting.summaries]
    most_cells = max(sum(summary.truths.values()) for summary in setting.summaries)
    scale = alt.Scale(domain=list(TRUTH_FILLS), range=list(TRUTH_FILLS.values()))
    legend = alt.Legend(orient="bottom", symbolType="square", symbolStrokeColor=DARK)
    base = alt.Chart(hold_rows(rows)).encode(y=kind_axis(kind_names))
    bar = base.mark_bar(stroke=DARK, strokeWidth=0.6, height=16).encode(
        x=alt.X("from:Q", title="cells (model, strength)", axis=count_axis(most_cells)),
        x2="to:Q",
        fill=alt.Fill("truth:N", title=None, sort=None, scale=scale, legend=legend),
    )
    text_color = alt.condition(
        "datum.truth == 'misaligned' || datum.truth == 'distorted'", alt.value("white"), alt.value("black")
    )
    text = base.mark_text(fontSize=11).encode(x="middle:Q", text="count:N", color=text_color)
    chart = alt.layer(bar, text).properties(width=520, height=22 * len(kind_names))
    return add_title(chart, "What cells truly are, kind by kind", setting)


def _draw_forest(summaries: tuple[KindSummary, ...], title: str, axis: str, field: str, labelled: bool) -> Any:
    rows = [
        estimate_row(estimate, kind=kind_name(summary.kind, summary.control), control=summary.control)
        for summary in summaries
        if (estimate := getattr(summary, field)) is not None
    ]
    kind_names = [kind_name(summary.kind, summary.control) for summary in summaries]
    y = kind_axis(kind_names, labels=labelled, grid=True).scale(domain=kind_names)
    x = alt.X("value:Q", title=axis, scale=alt.Scale(nice=False, padding=10), axis=alt.Axis(format="~g", tickCount=4))
    base = alt.Chart(hold_rows(rows)).encode(y=y)
    interval = base.mark_rule(strokeWidth=2, color=DARK).encode(x=alt.X("low:Q"), x2="high:Q")
    fill = alt.condition("datum.control", alt.value("white"), alt.value(ORANGE))
    point = base.mark_point(size=60, stroke=DARK, strokeWidth=1.2, opacity=1).encode(x=x, fill=fill)
    return alt.layer(rule_at("x", 0, strokeWidth=0.8), interval, point).properties(
        title=panel_title(title), width=250, height=22 * len(kind_names)
    )
