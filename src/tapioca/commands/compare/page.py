"""A comparison of criteria on one screen and on one self-contained page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from tapioca.commands.compare.arms_page import RANDOM, describe_arms, draw_arms, explain_arms, tabulate_arms
from tapioca.commands.compare.result import EXACT, CompareResult, Pick
from tapioca.records import CriterionCost
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, count_drops, make_table, print_block, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, tabulate_written
from tapioca.search.criteria import OOD_LABELS


def draw_charts(info: CompareResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    charts = {"criteria": draw_criteria(info), "front": draw_front(info)}
    return {**charts, "arms": draw_arms(info)} if info.arms else charts


def write_page(info: CompareResult) -> Path:
    """Write `report.html` into the folder of a comparison and return its path."""
    written = tabulate_written(judged_plans(info))
    names = {"branch_criteria": list_branch_criteria(info), "about_arms": describe_arms(info)}
    return write_record_page(__name__, info, written=written, **names)


def list_branch_criteria(info: CompareResult) -> list[str]:
    """The criteria whose plans drop branches alone, in the order of their plans."""
    branch_picks = [pick for pick in info.picks if pick.plan.size and not pick.plan.drops]
    return list(dict.fromkeys(name for pick in branch_picks for name in pick.criteria))


def show(info: CompareResult, console: Console) -> None:
    """Print a comparison: every plan chosen with its held-out result, then what each criterion cost."""
    show_data(info, console)
    plans = tabulate_plans(info)
    print_block(console, plans.select(*(column for column in plans.head[:6] if column != "p of ID")))
    print_line(console, f"{explain_comparison(info)}\n", style="dim")
    if info.arms:
        _show_arms(info, console)
    show_written(judged_plans(info), console)
    costs = tabulate_costs(info)
    print_block(
        console, costs.select(*(column for column in costs.head if column not in ("what it does", "source", "reads")))
    )
    print_line(console, f"A layer-forward is one layer computed for one sequence. {explain_regret(info)}", style="dim")
    print_line(console, f"{explain_reading(info)}\n", style="dim")
    show_page(info, console)


def _show_arms(info: CompareResult, console: Console) -> None:
    arms = tabulate_arms(info)
    left_out = "what was scored", "random beaten", "operations left"
    print_block(console, arms.select(*(column for column in arms.head if column not in left_out)))
    print_line(console, f"{explain_arms(info)}\n", style="dim")


def tabulate_plans(info: CompareResult) -> TableBlock:
    """Every plan chosen with its held-out result; a screen has no room for them all."""
    unit, effect = info.metric.effect_unit, words.format_effect
    columns: dict[str, Callable[[Pick], str]] = {
        "plan, chosen by": lambda pick: f"{pick.plan}\n{', '.join(pick.criteria)}",
        f"OOD {unit} [95 %]": lambda pick: effect(pick.ood),
        "p": lambda pick: words.p_value(pick.p_ood),
        f"ID {unit} [95 %]": lambda pick: effect(pick.id),
        "p of ID": lambda pick: words.p_value(pick.p_id),
        f"vs {info.first}": lambda pick: compare_with_first(pick, info.first),
        f"OOD {unit} against {info.first} [95 %]": lambda pick: effect(pick.rival),
        "random beaten": lambda pick: f"{pick.beaten} of {len(info.random[pick.drops])}",
        "operations left": lambda pick: f"{100 * pick.flops:.1f} %{' *' if pick.front else ''}",
    }
    rows: list[tuple[str, ...]] = []
    for drops in info.list_sizes():
        picks = [pick for pick in info.picks if pick.drops == drops]
        rows += [(count_drops(drops),), *make_table("", picks, columns).rows]
    return TableBlock("", tuple(columns), tuple(rows))


def tabulate_costs(info: CompareResult) -> TableBlock:
    """What choosing by each criterion costs."""
    columns: dict[str, Callable[[CriterionCost], str]] = {
        "criterion": lambda searched: searched.name,
        "what it does": lambda searched: searched.about,
        "source": lambda searched: searched.source or "–",
        "reads": describe_reads,
        "plans tried": lambda searched: str(searched.plans_tried),
        "layer-forwards": lambda searched: words.format_quantity(searched.layer_forwards),
        "model time": lambda searched: words.format_duration(searched.seconds),
        f"regret against {EXACT}": lambda searched: format_regret(info, searched),
    }
    return make_table("", info.searched, columns).without_empty()


def describe_reads(searched: CriterionCost) -> str:
    """What of the search data a criterion read; empty in older records."""
    return "" if searched.reads is None else ", ".join(searched.reads) or "nothing"


def format_regret(info: CompareResult, searched: CriterionCost) -> str:
    """How far a criterion's plan scores below TALE's on the search split, where that is furthest; empty of others."""
    if searched.name == EXACT or not searched.search_gains:
        return ""
    drops, gain = min(searched.search_gains.items(), key=lambda item: item[1])
    return f"{info.metric.format_effect(gain, named=True)} ({count_drops(drops)})" if gain < 0 else "none"


def explain_regret(info: CompareResult) -> str:
    """How to read the regrets; empty where there are none."""
    if not any(format_regret(info, searched) for searched in info.searched):
        return ""
    return f"Regret: the search score of its plan against that of {EXACT}'s, where it falls furthest behind; no result."


def explain_reading(info: CompareResult) -> str:
    """Which criteria chose without answers; empty where all read them, or nobody kept what they read."""
    names = [
        searched.name for searched in info.searched if searched.reads is not None and OOD_LABELS not in searched.reads
    ]
    return f"Chosen without OOD labels: {', '.join(names)}." if names else ""


def judged_plans(info: CompareResult) -> HeldOutGains:
    """Every plan chosen with what it changes."""
    return [(pick.plan, *result) for pick in info.picks for result in (("ood", pick.ood), ("id", pick.id))]


def compare_with_first(pick: Pick, first: str) -> str:
    """What the interval says of a plan against the first criterion's: better, worse, unclear, or the same plan."""
    if pick.rival is None:
        return "same" if first in pick.criteria else "–"
    low, high = pick.rival.ci95
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def explain_comparison(info: CompareResult) -> str:
    """How to read the table of plans."""
    effects = words.explain_effects(info.metric, info.picks[0].ood, info.picks[0].id, "no search saw")
    return (
        f"{effects} p: paired t-test, corrected for {len({pick.plan for pick in info.picks})} plans (Holm). "
        f"vs {info.first}: by the paired interval of the two OOD results."
    )


def draw_criteria(info: CompareResult) -> alt.TopLevelMixin:
    """Held-out OOD effect of every criterion's plan, one panel for each number of drops; ticks are random plans."""
    panels = [_draw_size_panel(info, drops) for drops in info.list_sizes()]
    return alt.concat(*panels, columns=2).resolve_scale(x="shared")


def _draw_size_panel(info: CompareResult, drops: int) -> Any:
    criteria = [searched.name for searched in info.searched]
    rows = [
        figures.effect_row(
            info.metric, pick.ood, name=name, colour=figures.COLOURS["OOD" if name == info.first else "ID"]
        )
        for name in criteria
        if (pick := info.find_pick(name, drops))
    ]
    ticks = [{"name": RANDOM, "value": info.metric.effect(gain)} for gain in info.random.get(drops, ())]
    names = [*criteria, *([RANDOM] if ticks else [])]
    chart = figures.draw_effects(info.metric, rows, ticks, names, "OOD")
    return chart.properties(width=figures.WIDTH, height=16 * len(names), title=count_drops(drops))


def draw_front(info: CompareResult) -> alt.TopLevelMixin:
    """OOD score against the operations left; the line is the Pareto front, coloured points are the first criterion's."""
    metric = info.metric
    full = metric.to_display(info.picks[0].ood.full)
    rows: list[dict[str, Any]] = [
        {"flops": 1.0, "value": full, "label": "full model", "first": False, "front": info.full_on_front}
    ]
    rows += [
        {
            "flops": pick.flops,
            "value": metric.to_display(pick.ood.planned),
            "label": _label_pick(pick),
            "first": info.first in pick.criteria,
            "front": pick.front,
        }
        for pick in info.picks
    ]
    x = alt.X(
        "flops:Q",
        title="floating-point operations left",
        axis=alt.Axis(format=".0%"),
        scale=alt.Scale(domain=[min(row["flops"] for row in rows), 1.0], nice=False, padding=25),
    )
    y = alt.Y("value:Q", **figures.value_axis(metric, f"OOD {metric.name}, test split"))
    base = figures.plot(rows, x=x, y=y)
    colour = alt.condition("datum.first", alt.value(figures.COLOURS["OOD"]), alt.value(figures.GREY))
    points = base.mark_point(filled=True, size=45, opacity=0.9).encode(color=colour)
    front = base.transform_filter("datum.front")
    line = front.mark_line(color=figures.DARK, strokeWidth=1.5).encode(order="flops:Q")
    ring = front.mark_point(size=90, color=figures.DARK, strokeWidth=1.5)
    named = base.transform_filter("datum.front || datum.label == 'full model'")
    labels = figures.label_points(named, angle=330)
    return alt.layer(points, line, ring, labels).properties(width=figures.FULL_WIDTH, height=figures.HEIGHT + 70)


def _label_pick(pick: Pick) -> str:
    """Who chose a plan, in the space of a label."""
    others = len(pick.criteria) - 1
    return f"{pick.drops}: {pick.criteria[0]}{f' + {others}' if others else ''}"
