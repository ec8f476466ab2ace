"""Charts of a run: the search's path, and what the plans change on held-out data."""

from __future__ import annotations

from typing import Any

import altair as alt

from tapioca.commands.prune.result import PruneResult
from tapioca.plan import GRAINS, Plan
from tapioca.records import HeldOutResult
from tapioca.report.figures import COLOURS, DARK, FULL_WIDTH, GREY, HEIGHT, _integer_axis
from tapioca.search.floor import find_floor


def draw_search_path(info: PruneResult) -> alt.TopLevelMixin:
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


def draw_gains(info: PruneResult) -> alt.TopLevelMixin:
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


def _effect_row(judgement: HeldOutResult) -> dict[str, Any]:
    effect, low, high = map(judgement.result.metric.effect, (judgement.result.gain, *judgement.result.ci95))
    name = f"{judgement.data.upper()}: {judgement.plan}" + ("" if judgement.role == "best" else f" ({judgement.role})")
    return {"name": name, "data": judgement.data.upper(), "effect": effect, "low": low, "high": high}


def _data_colour() -> alt.Color:
    scale = alt.Scale(domain=["ID", "OOD"], range=[COLOURS["ID"], COLOURS["OOD"]])
    return alt.Color("data:N", legend=None, scale=scale)
