"""The arms of a comparison as a table and a chart."""

from collections.abc import Callable
from statistics import mean
from typing import Any

import altair as alt

from tapioca.commands.compare.result import ArmResult, CompareResult
from tapioca.records import Gain
from tapioca.records.results import Domain
from tapioca.report import figures
from tapioca.report import format as words
from tapioca.report.tables import TableBlock, count_drops, make_table

RANDOM = "random plans"


def tabulate_arms(info: CompareResult) -> TableBlock:
    """Every arm with its held-out result, and the mean of the random plans; a screen has no room for all columns."""
    unit = info.metric.effect_unit
    columns: dict[str, Callable[[ArmResult], str]] = {
        "arm": lambda arm: f"{arm.name}\n{describe_reads(arm)}",
        "what was scored": lambda arm: str(arm.scored),
        f"OOD {unit} [95 %]": lambda arm: _write_effect(arm.ood, arm.p_ood),
        f"ID {unit} [95 %]": lambda arm: _write_effect(arm.id, arm.p_id),
        "against drop [95 %]": lambda arm: _write_effect(arm.against, arm.p_against),
        "random beaten": lambda arm: f"{arm.beaten} of {len(info.random[arm.drops])}",
        "operations left": lambda arm: f"{100 * arm.flops:.1f} %",
    }
    rows: list[tuple[str, ...]] = []
    for drops in list_sizes(info):
        arms = [arm for arm in info.arms if arm.drops == drops]
        rows += [(f"beside {count_drops(drops)}",), *make_table("", arms, columns).rows]
        rows += [_write_random(info, drops, arms[0].flops, len(columns))] if info.random[drops] else []
    return TableBlock("", tuple(columns), tuple(rows))


def _write_effect(gain: Gain | None, p: float | None) -> str:
    return f"{words.format_effect(gain)}\np {words.p_value(p)}" if gain else "–"


def _write_random(info: CompareResult, drops: int, flops: float, n_columns: int) -> tuple[str, ...]:
    """The row of the random plans: their mean."""
    gains = info.random[drops]
    cells = [f"{RANDOM}\nread nothing", f"the mean of {len(gains)}", info.metric.format_effect(mean(gains))]
    return (*cells, *["–"] * (n_columns - len(cells) - 1), f"{100 * flops:.1f} %")


def describe_reads(arm: ArmResult) -> str:
    """What an arm was chosen or fitted by."""
    return f"reads {', '.join(arm.reads)}"


def describe_arms(info: CompareResult) -> dict[str, str]:
    """What each arm does, by its name."""
    return {arm.name: arm.about for arm in info.arms}


def list_sizes(info: CompareResult) -> tuple[int, ...]:
    """The numbers of drops that arms stand beside, ascending."""
    return tuple(dict.fromkeys(arm.drops for arm in info.arms))


def explain_arms(info: CompareResult) -> str:
    """How to read the table of arms."""
    n_scored = len({arm.scored for arm in info.arms})
    return (
        f"Against the full model on held-out data; {info.metric.better_effects}. p: paired t-test, corrected for {n_scored} arms "
        f"(Holm); against drop: by the same examples. Arms that read OOD labels were chosen or fitted on OOD search data."
    )


def draw_arms(info: CompareResult) -> alt.TopLevelMixin:
    """Held-out effects of every arm, OOD and ID side by side, for each number of drops; ticks are random plans."""
    panels = [
        _draw_panel(info, drops, domain)
        for drops in list_sizes(info)
        for domain in (("ood", "id") if info.arms[0].id else ("ood",))
    ]
    return alt.concat(*panels, columns=2 if info.arms[0].id else 1)


def _draw_panel(info: CompareResult, drops: int, domain: Domain) -> Any:
    arms = [arm for arm in info.arms if arm.drops == drops]
    rows = [
        figures.effect_row(
            info.metric, gain, name=arm.name, colour=figures.COLOURS["OOD" if arm.reads_labels else "ID"]
        )
        for arm in arms
        if (gain := arm.ood if domain == "ood" else arm.id)
    ]
    gains = info.random.get(drops, ()) if domain == "ood" else ()
    ticks = [{"name": RANDOM, "value": info.metric.effect(gain)} for gain in gains]
    names = [*(arm.name for arm in arms), *([RANDOM] if info.random.get(drops) else [])]
    chart = figures.draw_effects(info.metric, rows, ticks, names, domain.upper())
    return chart.properties(width=figures.WIDTH - 60, height=18 * len(names), title=f"beside {count_drops(drops)}")
