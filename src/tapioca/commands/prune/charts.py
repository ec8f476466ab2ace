"""Charts of a run: the search's path, and what the plans change on held-out data."""

from collections.abc import Callable
from typing import Any

import altair as alt

from tapioca.commands.prune.result import PruneResult
from tapioca.plan import GRAINS, Plan
from tapioca.report import figures
from tapioca.search.base import measure_size
from tapioca.search.floor import find_floor


def draw_search_path(info: PruneResult) -> alt.TopLevelMixin:
    """Every plan not stopped early, by layers dropped; the line is the path taken, the rule its floor where it has one."""
    metric, blind = info.metric, info.without_labels
    baseline = blind.full if blind else info.checks["ood"].full
    display: Callable[[float], float] = float if blind else metric.to_display
    path = [{"dropped": 0, "value": display(baseline), "label": "full model"}]
    tried: list[dict[str, Any]] = []
    before = Plan.full(info.plan.n_layers)
    for search_round in info.rounds:
        winner = search_round.winner.plan
        tried += [
            {"dropped": measure_size(trial.plan), "value": display(trial.score), "plan": str(trial.plan)}
            for trial in search_round.trials
            if trial.n_scored is None
        ]
        if search_round.accepted:
            value = display(search_round.winner.score)
            path.append({"dropped": measure_size(winner), "value": value, "label": _label_step(before, winner)})
            before = winner
    winners = [entry.winner.plan for entry in info.rounds]
    what = "layers dropped" if all(plan.drops for plan in winners) else "branches dropped"
    title = "layers repeated" if any(plan.repeats for plan in winners) else what
    x = alt.X("dropped:Q", title=title, axis=figures.integer_axis(range(len(info.rounds) + 1)))
    axis = figures.value_axis(metric, f"{metric.name}, search split")
    if blind:
        axis = {"title": f"{blind.guide} (higher is better)", "scale": alt.Scale(zero=False, padding=12)}
    y = alt.Y("value:Q", **axis)
    line = figures.plot(path, x=x, y=y).mark_line(
        color=figures.DARK, point=alt.OverlayMarkDef(color=figures.DARK, size=45)
    )
    layers = [
        figures.plot(tried, x=x, y=y).mark_point(color=figures.GREY, size=22, opacity=0.8),
        line,
        figures.label_points(line),
    ]
    if info.epsilon is not None:
        floor = metric.to_display(find_floor(metric, baseline, info.epsilon))
        layers.insert(1, figures.rule_at("y", floor, color="#CC79A7", strokeDash=[4, 3]))
    return alt.layer(*layers).properties(width=figures.FULL_WIDTH, height=figures.HEIGHT)


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
    rows, ticks = [], []
    for judgement in (judgement for judgement in info.judgements if not judgement.plan.is_full):
        data = judgement.data.upper()
        name = f"{data}: {judgement.plan}" + ("" if judgement.role == "best" else f" ({judgement.role})")
        rows.append(figures.effect_row(info.metric, judgement.result, name=name, colour=figures.COLOURS[data]))
        ticks += [{"name": name, "value": info.metric.effect(random_gain)} for random_gain in judgement.random]
    names = [row["name"] for row in rows]
    return figures.draw_effects(info.metric, rows, ticks, names).properties(
        width=figures.FULL_WIDTH - 60, height=34 * max(1, len(rows))
    )
