"""All plans of a model on one screen and on one self-contained page."""

from pathlib import Path
from typing import Any

import altair as alt
from rich.console import Console

from tapioca.commands.enumerate.result import EnumerateResult, RankedPlan, SizeOfSpace
from tapioca.commands.geometry.tables import KINDS
from tapioca.records import Metric, format_interval, signed, with_interval
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, count_drops, print_block, print_line
from tapioca.report.template import write_record_page
from tapioca.report.written import HeldOutGains, show_written, tabulate_written

GREEDY, ORACLE = "greedy", "oracle"
GOLDEN_RATIO = 0.618033988749895
"""Multiples of the golden ratio spread points of one size evenly, in an order that shows no pattern."""


def draw_charts(info: EnumerateResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"sizes": draw_sizes(info), **({"realignment": draw_realignment(info)} if info.sample else {})}


def write_page(info: EnumerateResult) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    return write_record_page(__name__, info, written=tabulate_written(judged_plans(info)))


def show(info: EnumerateResult, console: Console) -> None:
    """Print what was found: for each number of drops the oracle's and greedy's plans, then all plans."""
    show_data(info, console)
    print_block(console, tabulate_plans(info))
    print_line(console, f"{explain_space(info)}\n", style="dim")
    show_written(judged_plans(info), console)
    print_block(console, tabulate_spread(info).select("drops", "plans", "worst", "median", "best"))
    console.print()
    if info.sample:
        print_block(console, tabulate_correlations(info))
        print_line(
            console, "ρ: rank correlation of realignment with OOD test gain, over all plans of a size\n", style="dim"
        )
    show_page(info, console)


def tabulate_plans(info: EnumerateResult) -> TableBlock:
    """The plans chosen of every size, and the oracle's against greedy's."""
    rows: list[tuple[str, ...]] = []
    for size in info.sizes:
        rows.append((count_drops(size.drops),))
        for placed, who in placed_by_chooser(size):
            effects = words.format_effect(placed.ood), words.format_effect(placed.id)
            rows.append((f"{placed.plan}\n{who}", *effects, f"{placed.better} of {size.plans}"))
        if size.oracle.plan != size.greedy.plan:
            rows.append(("oracle against greedy", words.format_effect(size.regret), "", ""))
            rows.append(("the same on the search split", format_gain(size.regret_search, info.metric), "", ""))
    unit = info.metric.effect_unit
    return TableBlock("", ("plan", f"OOD {unit} [95 %]", f"ID {unit} [95 %]", "better plans"), tuple(rows))


def tabulate_spread(info: EnumerateResult) -> TableBlock:
    """What all plans of a size gain."""
    rows = tuple(
        (
            str(size.drops),
            str(size.plans),
            *(format_gain(gain, info.metric) for gain in size.gain_quantiles),
            f"{100 * size.improving:.0f} %",
        )
        for size in info.sizes
    )
    quantiles = ("worst", "lower quartile", "median", "upper quartile", "best")
    return TableBlock("", ("drops", "plans", *quantiles, "better than the full model"), rows)


def tabulate_correlations(info: EnumerateResult) -> TableBlock:
    """Realignment against gain, over all plans of a size."""
    rows = tuple(
        (
            str(size.drops),
            found.kind,
            with_interval(found.value, found.ci95, "+.2f"),
            format_interval(found.plans_ci95, "+.2f"),
            words.p_value(found.p),
        )
        for size in info.sizes
        for found in size.correlations
    )
    return TableBlock("", ("drops", "profile", "ρ [95 % over examples]", "[95 % over plans]", "p"), rows)


def placed_by_chooser(size: SizeOfSpace) -> list[tuple[RankedPlan, str]]:
    """The plans chosen of one size, and who chose them."""
    if size.oracle.plan == size.greedy.plan:
        return [(size.oracle, "oracle and greedy")]
    return [(size.oracle, ORACLE), (size.greedy, GREEDY)]


def judged_plans(info: EnumerateResult) -> HeldOutGains:
    """The plans chosen of every size with what they change."""
    plans = [placed for size in info.sizes for placed, _ in placed_by_chooser(size)]
    return [(placed.plan, *result) for placed in plans for result in (("ood", placed.ood), ("id", placed.id))]


def format_gain(gain: float, metric: Metric) -> str:
    """A gain that needs no interval, with what tells a multiple of the error from points."""
    return ("×" if metric.kind == "error" else "") + metric.format_effect(gain)


def explain_space(info: EnumerateResult) -> str:
    """How to read the table of plans."""
    oracle = info.sizes[0].oracle
    return (
        f"{words.explain_effects(info.metric, oracle.ood, oracle.id, 'held out')} Oracle: best of all plans of "
        "its size on the search split. Better plans: of its size, with a higher OOD test score. Worst and best are read off "
        "the test split, so they describe all plans and are no results of choosing."
    )


def draw_sizes(info: EnumerateResult) -> alt.TopLevelMixin:
    """Held-out OOD effect of every plan by the number of drops, with the oracle's and greedy's plans marked."""
    dots = [
        {"drops": len(plan.drops) + 0.6 * (index * GOLDEN_RATIO % 1 - 0.5), "value": info.metric.effect(plan.ood)}
        for index, plan in enumerate(info.plans)
    ]
    marks = [
        {"drops": size.drops, "value": info.metric.effect(placed.ood.gain), "who": who}
        for size in info.sizes
        for placed, who in ((size.oracle, ORACLE), (size.greedy, GREEDY))
    ]
    x = alt.X(
        "drops:Q",
        title="layers dropped",
        axis=figures.integer_axis(size.drops for size in info.sizes),
        scale=alt.Scale(domain=[0.5, info.sizes[-1].drops + 0.5], nice=False),
    )
    y = alt.Y("value:Q", **figures.effect_axis(info.metric, "OOD", ", test split"))
    colours = alt.Scale(domain=[ORACLE, GREEDY], range=[figures.COLOURS["ID"], figures.COLOURS["OOD"]])
    shapes = alt.Scale(domain=[ORACLE, GREEDY], range=["diamond", "circle"])
    colour = alt.Color("who:N", title=None, sort=None, scale=colours)
    shape = alt.Shape("who:N", title=None, sort=None, scale=shapes)
    cloud = figures.plot(dots, x=x, y=y).mark_point(color=figures.GREY, filled=True, size=16, opacity=0.7)
    base = figures.plot(marks, x=x, y=y, color=colour)
    line = base.mark_line(strokeWidth=1.5)
    point = base.mark_point(size=80, strokeWidth=2, opacity=1).encode(shape=shape)
    return alt.layer(cloud, figures.rule_at("y", info.metric.effect(0)), line, point).properties(
        width=figures.FULL_WIDTH, height=figures.HEIGHT + 70
    )


def draw_realignment(info: EnumerateResult) -> alt.TopLevelMixin:
    """Realignment of every plan against its held-out OOD effect: a row for each number of drops, norm and distance."""
    panels = [_draw_realignment_panel(info, size, kind) for size in info.sizes for kind in KINDS]
    return alt.concat(*panels, columns=2)


def _draw_realignment_panel(info: EnumerateResult, size: SizeOfSpace, kind: str) -> Any:
    plans = [plan for plan in info.plans if len(plan.drops) == size.drops]
    rows = [{"realignment": getattr(plan, kind), "value": info.metric.effect(plan.ood)} for plan in plans]
    correlation = next((correlation for correlation in size.correlations if correlation.kind == kind), None)
    rho = f": ρ = {signed(correlation.value, 2)}" if correlation else ""
    axis = alt.Axis(format="~g", tickCount=5)
    x = alt.X("realignment:Q", title="realignment", axis=axis, scale=alt.Scale(zero=False))
    y = alt.Y("value:Q", **figures.effect_axis(info.metric, "OOD"))
    points = figures.plot(rows, x=x, y=y).mark_point(filled=True, size=18, opacity=0.6, color=figures.COLOURS["OOD"])
    rules = figures.rule_at("y", info.metric.effect(0)), figures.rule_at("x", 0, color=figures.GREY, strokeDash=[3, 3])
    title = f"{count_drops(size.drops)}, {kind}{rho}"
    return alt.layer(*rules, points).properties(width=figures.WIDTH - 50, height=150, title=title)
