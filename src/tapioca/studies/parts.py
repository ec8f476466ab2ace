"""What answers a study's open questions, and what the charts of its page draw; goes to JSON and back.

Intervals are over models and kinds of shift, crossed, and the prompts within.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tapioca.records.measures import Estimate
from tapioca.records.results import Interval, Record

Truth = Literal["in distribution", "distorted", "misaligned", "undecided"]
TRUTHS: tuple[Truth, ...] = ("in distribution", "distorted", "misaligned", "undecided")
SetName = Literal["chosen", "random", "all"]
"""Whose layers are scaled: those of greedy's plan, as many random ones, or all."""


class Pooled(Record):
    """A mean over strengths, kinds and models.

    Attributes:
        value: the mean.
        ci95: its interval.
        p: two-sided bootstrap p-value that it is 0.
        models, kinds: how many it is over.
        cells: models times tasks it is over.
        prompts: test prompts of all these cells.
    """

    value: float
    ci95: Interval
    p: float
    models: int
    kinds: int
    cells: int
    prompts: int


class KindSummary(Record):
    """Q1: what one kind of shift does, and Q3: how many of its cells truly are what.

    Attributes:
        kind, control: the kind of shift, and whether it is in no pooled number.
        log_ratio: of greedy's plan searched on it; None where nothing was measured, as for the next two.
        norm, distance: the deviations' excess over their null.
        truths: how many cells (model, strength) are in distribution, distorted, misaligned and undecided.
    """

    kind: str
    control: bool
    log_ratio: Pooled | None
    norm: Pooled | None
    distance: Pooled | None
    truths: dict[Truth, int]


class SearchCost(Record):
    """Q2: what a search computes, in layers for one prompt, as a mean over cells.

    Attributes:
        search: for the best plan of greedy search, or of all there are.
        tree: where plans share what they have in common.
        scratch: where every plan is computed alone.
    """

    search: Literal["greedy", "all plans"]
    plans: float = Field(description="Plans tried.")
    tree: float
    scratch: float


class LabelledSearch(Record):
    """Q2: what a search with so many labelled prompts brings.

    Attributes:
        prompts: search prompts whose answers are used.
        log_ratio: held out, of greedy's plan found with the first `prompts` search prompts.
        share: of that of the plan found with all of them; None where the interval of the latter does not lie above 0.
    """

    prompts: int
    log_ratio: Estimate
    share: Estimate | None


class KindSkill(Record):
    """Lab only: one kind of shift against predictors that were never trained. Medians over cells.

    Attributes:
        kind, control: the kind of shift, and whether it is in no pooled number.
        cells: models times strengths.
        full, pruned: skill, 1 - error / error of the constant, of the full model and of greedy's plan.
        ridge: that of ridge regression.
        gap_closed: share of the full model's excess error over ridge that pruning removes, over the cells that have a
            gap; None where none has.
        gaps: how many have.
        tail_only: share of the cells where greedy's plan changes something and the mean error and most prompts
            disagree about it; None where it changes nothing anywhere.
    """

    kind: str
    control: bool
    cells: int
    full: float
    pruned: float
    ridge: float
    gap_closed: float | None
    gaps: int
    tail_only: float | None


class HeatTile(Record):
    """Chart: one layer under one kind of shift, means over models and strengths.

    Attributes:
        kind, layer: the kind of shift and the layer.
        norm, distance: the layer's share of the deviation along the unpruned stream.
        log_ratio: of dropping it alone, on test prompts; None where it cannot be dropped.
    """

    kind: str
    layer: int
    norm: float
    distance: float
    log_ratio: float | None


class DosePoint(Record):
    """Chart: one scale of one set of layers, mean over models and kinds but controls.

    Attributes:
        layers, alpha: which layers, and their scale.
        log_ratio: of the full model's error to that at this scale; the score ratio is exp of it.
        norm, distance: deviations; None where no layer is left to measure them after.
    """

    layers: SetName
    alpha: float
    log_ratio: Estimate
    norm: Estimate | None
    distance: Estimate | None


class StrengthPoint(Record):
    """Chart: one strength of one kind of shift, mean over models.

    Attributes:
        kind, control, task: the kind of shift, whether it is in no pooled number, and the task.
        strength: place among the strengths from 1; 0 is the ID task.
        anew: log ratio of greedy's plan searched at this strength.
        fixed: log ratio of the plan searched at the setting's fixed strength.
        norm, distance: deviations, not less their null.
    """

    kind: str
    control: bool
    strength: int
    task: str
    anew: Estimate
    fixed: Estimate
    norm: Estimate
    distance: Estimate


class ProfilePoint(Record):
    """Chart: signed log ratio of the profiles to the ID ones after one layer, means over models and strengths.

    Attributes:
        kind, layer: the kind of shift and the layer.
        norm, distance: log ratios of the two profiles.
        norm_ci95, distance_ci95: their intervals over models; None where there are too few.
    """

    kind: str
    layer: int
    norm: float
    distance: float
    norm_ci95: Interval | None = None
    distance_ci95: Interval | None = None


class PlanPoint(Record):
    """Chart: one plan of the example cell; realignments and test log ratio."""

    drops: tuple[int, ...] = Field(description="The layers it drops.")
    norm: float = Field(description="Realignment.")
    distance: float = Field(description="Realignment.")
    log_ratio: float | None = Field(description="On test prompts.")
    greedy: bool = Field(description="Whether it is greedy's plan.")


class Scatter(Record):
    """Chart: realignment against log ratio over all plans of one example cell, and its rank correlations over all cells.

    Attributes:
        model, kind, task: the example, the cell whose correlation is the median one.
        plans: all that drop something.
        norm, distance: rank correlations over the plans of the size of greedy's plan, one for each cell that has them.
    """

    model: str
    kind: str
    task: str
    plans: tuple[PlanPoint, ...]
    norm: tuple[float, ...]
    distance: tuple[float, ...]


class SizePoint(Record):
    """Chart: mean log ratio of one model over kinds and strengths."""

    model: str = Field(description="Its name.")
    parameters: int = Field(description="How many it has.")
    log_ratio: float = Field(description="The mean.")


class LinePoint(Record):
    """Chart: the regression line of log ratios on log parameters, at one size."""

    parameters: int = Field(description="The size.")
    log_ratio: Estimate = Field(description="The line there.")


class Charts(Record):
    """What the charts of one setting draw; empty where nothing was measured.

    Attributes:
        heat, doses, strengths, profiles, sizes, line: the points of a chart.
        scatter: all plans of one cell; None where nothing was measured.
    """

    heat: tuple[HeatTile, ...] = ()
    doses: tuple[DosePoint, ...] = ()
    strengths: tuple[StrengthPoint, ...] = ()
    profiles: tuple[ProfilePoint, ...] = ()
    scatter: Scatter | None = None
    sizes: tuple[SizePoint, ...] = ()
    line: tuple[LinePoint, ...] = ()
