"""What answers a study's open questions, and what the charts of its page draw; goes to JSON and back.

Intervals are over models and kinds of shift, crossed, and the prompts within.
"""

from typing import Literal

from pydantic import Field

from tapioca.records.measures import Estimate
from tapioca.records.results import Interval, Record

Truth = Literal["in distribution", "distorted", "misaligned", "undecided"]
TRUTHS: tuple[Truth, ...] = ("in distribution", "distorted", "misaligned", "undecided")
SetName = Literal["chosen", "random", "all"]
"""Whose layers are scaled: those of greedy's plan, as many random ones, or all."""


class Pooled(Record):
    """A mean over strengths, kinds and models."""

    value: float = Field(description="The mean.")
    ci95: Interval = Field(description="Its interval.")
    p: float = Field(description="Two-sided bootstrap p-value that it is 0.")
    models: int = Field(description="Models it is over.")
    kinds: int = Field(description="Kinds of shift it is over.")
    cells: int = Field(description="Models times tasks it is over.")
    prompts: int = Field(description="Test prompts of all these cells.")


class Power(Record):
    """What a study can see of one measure in one setting."""

    setting: str = Field(description="The setting.")
    measure: str = Field(description="The measure's label.")
    effect: float = Field(description="The effect that is assumed.")
    models: int = Field(description="Models of the setting.")
    kinds: int = Field(description="Kinds of shift that are pooled.")
    power: float = Field(description="How often the interval would lie on the effect's side of 0.")


class SettingCost(Record):
    """What one setting costs."""

    setting: str = Field(description="The setting.")
    models: int = Field(description="Models that are there.")
    left_out: int = Field(description="Models that are not, or whose data are not, or whose numbers are there already.")
    files: int = Field(description="Measurements.")
    seconds: float = Field(description="Of one core, about.")


class StudyPreview(Record):
    """What a study would measure, cost and be able to see."""

    title: str = Field(description="What the study's file calls it.")
    costs: tuple[SettingCost, ...] = Field(description="Of every setting.")
    power: tuple[Power, ...] = Field(description="Of every measure that the file has assumptions for.")


class KindSummary(Record):
    """Q1: what one kind of shift does, and Q3: how many of its cells truly are what."""

    kind: str = Field(description="The kind of shift.")
    control: bool = Field(description="Whether it is in no pooled number.")
    log_ratio: Pooled | None = Field(description="Of greedy's plan searched on it; None where nothing was measured.")
    norm: Pooled | None = Field(description="The norm deviation's excess over its null; None as above.")
    distance: Pooled | None = Field(description="The distance deviation's excess over its null; None as above.")
    truths: dict[Truth, int] = Field(description="How many of its cells (model, strength) are what.")


class SearchCost(Record):
    """Q2: what a search computes, in layers for one prompt, as a mean over cells."""

    search: Literal["greedy", "all plans"] = Field(description="Greedy search, or every plan tried.")
    plans: float = Field(description="Plans tried.")
    tree: float = Field(description="Where plans share what they have in common.")
    scratch: float = Field(description="Where every plan is computed alone.")


class LabelledSearch(Record):
    """Q2: what a search with so many labelled prompts brings."""

    prompts: int = Field(description="Search prompts whose answers are used.")
    log_ratio: Estimate = Field(description="Held out, of greedy's plan found with the first `prompts` search prompts.")
    share: Estimate | None = Field(
        description="Of that of the plan found with all of them; None where the interval of the latter does not lie above 0."
    )


class KindSkill(Record):
    """Lab only: one kind of shift against predictors that were never trained. Medians over cells."""

    kind: str = Field(description="The kind of shift.")
    control: bool = Field(description="Whether it is in no pooled number.")
    cells: int = Field(description="Models times strengths.")
    full: float = Field(description="Skill of the full model, 1 - error / error of the constant.")
    pruned: float = Field(description="Skill of greedy's plan.")
    ridge: float = Field(description="Skill of ridge regression.")
    gap_closed: float | None = Field(
        description="Share of the full model's excess error over ridge that pruning removes; None where there is no gap."
    )
    gaps: int = Field(description="Cells that have such a gap.")
    tail_only: float | None = Field(
        description="Share of the cells where greedy's plan changes something and the mean error and most prompts "
        "disagree about it; None where it changes nothing anywhere."
    )


class HeatTile(Record):
    """Chart: one layer under one kind of shift, means over models and strengths."""

    kind: str = Field(description="The kind of shift.")
    layer: int = Field(description="The layer.")
    norm: float = Field(description="Its share of the norm deviation along the unpruned stream.")
    distance: float = Field(description="Its share of the distance deviation along the unpruned stream.")
    log_ratio: float | None = Field(description="Of dropping it alone, on test prompts; None where it cannot be.")


class DosePoint(Record):
    """Chart: one scale of one set of layers, mean over models and kinds but controls."""

    layers: SetName = Field(description="Which layers: those of greedy's plan, random ones, or all.")
    alpha: float = Field(description="Their scale.")
    log_ratio: Estimate = Field(description="Of the full model's error to that at this scale.")
    norm: Estimate | None = Field(description="Norm deviation; None where no layer is left to measure it after.")
    distance: Estimate | None = Field(description="Distance deviation; None as above.")


class StrengthPoint(Record):
    """Chart: one strength of one kind of shift, mean over models."""

    kind: str = Field(description="The kind of shift.")
    control: bool = Field(description="Whether it is in no pooled number.")
    strength: int = Field(description="Place among the strengths from 1; 0 is the ID task.")
    task: str = Field(description="Its task.")
    anew: Estimate = Field(description="Log ratio of greedy's plan searched at this strength.")
    fixed: Estimate = Field(description="Log ratio of the plan searched at the setting's fixed strength.")
    norm: Estimate = Field(description="Norm deviation, not less its null.")
    distance: Estimate = Field(description="Distance deviation, not less its null.")


class ProfilePoint(Record):
    """Chart: signed log ratio of the profiles to the ID ones after one layer, means over models and strengths."""

    kind: str = Field(description="The kind of shift.")
    layer: int = Field(description="The layer.")
    norm: float = Field(description="Log ratio of the norm profile.")
    distance: float = Field(description="Log ratio of the distance profile.")
    norm_ci95: Interval | None = Field(default=None, description="Its interval over models; None of too few.")
    distance_ci95: Interval | None = Field(default=None, description="Its interval over models; None of too few.")


class PlanPoint(Record):
    """Chart: one plan of the example cell; realignments and test log ratio."""

    drops: tuple[int, ...] = Field(description="The layers it drops.")
    norm: float = Field(description="Realignment of the norm profile.")
    distance: float = Field(description="Realignment of the distance profile.")
    log_ratio: float | None = Field(description="On test prompts.")
    greedy: bool = Field(description="Whether it is greedy's plan.")


class Scatter(Record):
    """Chart: realignment against log ratio over all plans of one example cell, and its rank correlations over all cells."""

    model: str = Field(description="Of the example: the median one by its median correlation.")
    kind: str = Field(description="Kind of shift of the model's cell with the median correlation.")
    task: str = Field(description="Its task.")
    plans: tuple[PlanPoint, ...] = Field(description="All that drop something.")
    norm: tuple[float, ...] = Field(description="Of every cell, over the plans of the size of greedy's plan.")
    distance: tuple[float, ...] = Field(description="The same for the distance profile.")


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
    """What the charts of one setting draw; empty where nothing was measured."""

    heat: tuple[HeatTile, ...] = Field(default=(), description="Of the heat map.")
    doses: tuple[DosePoint, ...] = Field(default=(), description="Of dose-response.")
    strengths: tuple[StrengthPoint, ...] = Field(default=(), description="Of log ratios and deviations by strength.")
    profiles: tuple[ProfilePoint, ...] = Field(default=(), description="Of the profiles layer by layer.")
    scatter: Scatter | None = Field(default=None, description="All plans of one cell; None where nothing was measured.")
    sizes: tuple[SizePoint, ...] = Field(default=(), description="Of log ratios by model size.")
    line: tuple[LinePoint, ...] = Field(default=(), description="Of the regression line through them.")
