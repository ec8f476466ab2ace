"""The charts of a study's page: where each stands, how it is read, and what is found in it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import altair as alt

from tapioca.report.figures import apply_common_style
from tapioca.studies.measures import measure_spec
from tapioca.studies.page import kinds, layers, points, scales, text
from tapioca.studies.results import SettingResult, StudyResult


@dataclass(frozen=True)
class ChartSpec:
    """A chart of every setting.

    Attributes:
        place: the claim or question it stands below; of the setting that a page shows first, one with a sentence stands in front.
        name: of the chart, after the name of its setting and a hyphen.
        draw: makes it; None where nothing was measured for it.
        caption: how to read it.
        absent: what the page says instead of it.
        tell: what is found in it, in a sentence with the numbers; None for those that stand further down alone.
        main_only: whether a page shows it of the setting alone that it shows first.
    """

    place: str
    name: str
    draw: Callable[[SettingResult], alt.TopLevelMixin | None]
    caption: str
    absent: str
    tell: Callable[[StudyResult, SettingResult], str] | None = None
    main_only: bool = False


ORDER = ("kinds", "log-ratio-by-strength", "scatter", "doses", "labels")
CHARTS = (
    ChartSpec(
        "C4",
        "profiles",
        layers.draw_profile_ratios,
        "Log ratio of each profile to that of the ID reference after every layer, under the full model: above 0 the OOD states are longer, or further apart. Means over models and strengths; bands, where there are some, are 95 % intervals over models. One scale for all panels. The norm profile is C3's, the pairwise-distance profile C4's.",
        "No profile was measured, so none is drawn.",
    ),
    ChartSpec(
        "C5",
        "scatter",
        points.draw_plan_scatter,
        "Each point is a plan. Right of 0 it moves the OOD profile back towards ID over the layers it keeps; above 0 it lowers the OOD error. The cell shown is the one whose correlation is the median one.",
        "Realignment was measured in no cell, so there is no example to draw.",
        partial(text.tell_claim, "C5", measure_spec("norm_realignment_with_log_ratio").label),
        main_only=True,  # an example; how all cells are is in the next
    ),
    ChartSpec(
        "C5",
        "correlations",
        points.draw_correlations,
        "Rank correlation over all plans of the size of greedy's plan, one for each cell (model, kind, strength) that has one.",
        "No cell has a rank correlation of realignment with log ratio.",
    ),
    ChartSpec(
        "C6",
        "heat",
        layers.draw_heat_map,
        "Left and middle: what the deviation grows by inside the layer, along the unpruned stream, as |log ratio|; on one scale. Right: log ratio on test prompts of dropping that layer alone. Blue is above 0, orange below, white 0; colours end at three times the median size or a fifth of the largest, the numbers do not. Means over models and strengths.",
        "No layer's share of a deviation was measured, so there is no heat map.",
    ),
    ChartSpec(
        "C7",
        "log-ratio-by-strength",
        scales.draw_log_ratios_by_strength,
        "Strengths are counted; their values are under What was run. Each panel has its own vertical scale, with 0 in it. Bands: 95 % intervals over models.",
        "No log ratio was measured along strengths.",
        partial(text.tell_claim, "C7", measure_spec("log_ratio_with_strength").label),
    ),
    ChartSpec(
        "C7",
        "deviation-by-strength",
        scales.draw_deviations_by_strength,
        "Not less their null, so that ID prompts too lie above 0. Each panel has its own vertical scale. Bands: 95 % intervals over models.",
        "No deviation was measured along strengths.",
    ),
    ChartSpec(
        "C8",
        "doses",
        scales.draw_dose_response,
        "The layers of greedy's plan, as many random ones, and all layers, scaled together; at 1 the model is as it came. Means over models and kinds of shift with 95 % intervals. Panels are as high as the chosen and the random layers need; where the line of all layers leaves them, it lies beyond.",
        "No layers were scaled, so there is no dose-response.",
        partial(text.tell_claim, "C8", ""),
    ),
    ChartSpec(
        "C9",
        "sizes",
        points.draw_log_ratios_by_size,
        "A point is a model, its mean over kinds and strengths. Dashed, where there are several sizes: regression of the log ratio on the logarithm of the number of parameters, with its 95 % band.",
        "No log ratio by size was measured.",
    ),
    ChartSpec(
        "Q1",
        "kinds",
        kinds.draw_kinds,
        "Means over strengths and models with 95 % intervals over models and prompts. White: controls, which are in no pooled number. A deviation over its null at 0 is no larger than between two ID samples.",
        "No kind of shift was measured.",
        lambda _, setting: text.count_kinds(setting),
    ),
    ChartSpec(
        "Q1",
        "skills",
        kinds.draw_skills,
        "Medians over models and strengths: 1 is no error, 0 is the error of always giving the constant. Marks at -1 lie there or further left; the table has the numbers.",
        "Skill beside ridge regression is measured in the lab alone.",
    ),
    ChartSpec(
        "Q2",
        "labels",
        points.draw_log_ratios_by_labels,
        "Held-out log ratio of greedy's plan when the search sees only so many labelled prompts; band: 95 % interval. Dashed, where there are some: plans that were chosen without any answer, by the criterion beside each line.",
        "Searches with fewer labels were not measured.",
        lambda _, setting: text.describe_labels(setting),
    ),
    ChartSpec(
        "Q3",
        "truths",
        kinds.draw_truths,
        "How many cells (model, strength) of every kind are what, by labels. In distribution: neither deviation is above its null. Distorted: one is, and the interval of the held-out log ratio of greedy's plan lies above 0. Misaligned: one is, and no plan's held-out log ratio can reach the margin. Undecided: the rest.",
        "No cell was classed.",
    ),
)
"""The charts of a page, below the claim or question they belong to."""
FIGURES = tuple(sorted((spec for spec in CHARTS if spec.tell), key=lambda spec: ORDER.index(spec.name)))
"""Those that carry the argument, in its order."""


def draw_charts(info: StudyResult) -> dict[str, alt.TopLevelMixin]:
    """Every chart that has something to show, ready to be saved, named like 'polynomials-heat'."""
    return {
        f"{setting.name}-{spec.name}": apply_common_style(chart)
        for spec in CHARTS
        for setting in info.settings
        if (chart := spec.draw(setting)) is not None
    }
