"""What a study found: claim by claim and setting by setting, with every number its page shows; goes to JSON and back.

Intervals (`Estimate`, `Pooled`) are over models and kinds of shift, crossed, and the prompts within, not over prompts
alone; those of one kind, or of one size, are over its models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tapioca.records.geometry import Estimate
from tapioca.records.results import Interval, Record
from tapioca.records.study import Claim, Rule

Decision = Literal["supported", "not supported", "inconclusive"]
Truth = Literal["in distribution", "distorted", "misaligned", "undecided"]
TRUTHS: tuple[Truth, ...] = ("in distribution", "distorted", "misaligned", "undecided")
SetName = Literal["chosen", "random", "all"]
"""Whose layers are scaled: those of greedy's plan, as many random ones, or all."""
Unit = Literal[
    "log ratio of errors", "mean |log ratio|", "rank correlation", "share", "accuracy", "log ratio per e-fold of size"
]
"""What a number is counted in: gains in the first, deviations and realignments in the second, ranks among plans in
shares."""


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


class OfKind(Record):
    """A number of one kind of shift.

    Attributes:
        value: the mean over its strengths and models; `value.p` is of this kind alone.
        p_holm: the p-value corrected over the kinds of the setting by Holm's method; None for controls.
    """

    kind: str
    value: Pooled
    p_holm: float | None = None


class OfSize(Record):
    """A number of one model size, for one kind of shift or for all; with so few models only its sign is told."""

    parameters: int
    kind: str | None = Field(description="None for all kinds but controls together.")
    value: Estimate
    models: int

    @property
    def sign(self) -> Literal["+", "-", "0"]:
        """The sign of the value."""
        return "+" if self.value.value > 0 else "-" if self.value.value < 0 else "0"


class Finding(Record):
    """One measured number behind a claim.

    Attributes:
        name: what was measured, in a few words; unique within a claim.
        unit: what it is counted in.
        decides: whether the rule is about it; the others stand beside.
        pooled: over all kinds but controls; None where nothing was measured.
        kinds: kind by kind; empty for what has no kind of shift.
        controls: the same of kinds that are in no pooled number.
        sizes: size by size, over all kinds but controls.
        kind_sizes: size by size, of every kind, controls too.
        left_out: cells that have no such number, for instance no ranks where all values are equal.
    """

    name: str
    unit: Unit
    decides: bool
    pooled: Pooled | None
    kinds: tuple[OfKind, ...] = ()
    controls: tuple[OfKind, ...] = ()
    sizes: tuple[OfSize, ...] = ()
    kind_sizes: tuple[OfSize, ...] = ()
    left_out: int = 0


class KindDecision(Record):
    """The rule of a claim applied to one kind of shift.

    Attributes:
        p_holm: of the conditions behind the decision (or behind "supported", where inconclusive), corrected over kinds.
    """

    kind: str
    decision: Decision
    reason: str
    p_holm: float | None = None


class ClaimFound(Record):
    """A claim judged in one setting.

    Attributes:
        reason: why, in one sentence with the numbers.
        findings: those the rule is about first.
        kinds: the rule applied to each kind of shift alone, controls left out; empty where it has no kinds.
    """

    claim: Claim
    decision: Decision
    reason: str
    findings: tuple[Finding, ...] = ()
    kinds: tuple[KindDecision, ...] = ()

    def finding(self, name: str) -> Finding:
        """The finding of one name.

        Raises:
            KeyError: there is none.
        """
        return {finding.name: finding for finding in self.findings}[name]


class KindSummary(Record):
    """Q1: what one kind of shift does, and Q3: how many of its cells truly are what.

    Attributes:
        gain: of greedy's plan searched on it; None where nothing was measured, as for the next two.
        norm, distance: the deviations' excess over their null.
        truths: how many cells (model, strength) are in distribution, distorted, misaligned and undecided.
    """

    kind: str
    control: bool
    gain: Pooled | None
    norm: Pooled | None
    distance: Pooled | None
    truths: dict[Truth, int]


class Computed(Record):
    """Q2: what a search computes, in layers for one prompt, as a mean over cells.

    Attributes:
        tree: where plans share what they have in common.
        scratch: where every plan is computed alone.
    """

    search: Literal["greedy", "all plans"]
    plans: float = Field(description="Plans tried.")
    tree: float
    scratch: float


class Labelled(Record):
    """Q2: what a search with so many labelled prompts brings.

    Attributes:
        gain: held-out gain of greedy's plan found with the first `prompts` search prompts.
        share: of the gain of the plan found with all of them; None where that gain's interval does not lie above 0.
    """

    prompts: int
    gain: Estimate
    share: Estimate | None


class KindSkill(Record):
    """Lab only: one kind of shift against predictors that were never trained. Medians over cells.

    Attributes:
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
        norm, distance: the layer's share of the deviation along the unpruned stream.
        gain: of dropping it alone, on test prompts; None where it cannot be dropped.
    """

    kind: str
    layer: int
    norm: float
    distance: float
    gain: float | None


class DosePoint(Record):
    """Chart: one scale of one set of layers, mean over models and kinds but controls.

    Attributes:
        gain: log ratio of the full model's error to that at this scale; the score ratio is exp of it.
        norm, distance: deviations; None where no layer is left to measure them after.
    """

    layers: SetName
    alpha: float
    gain: Estimate
    norm: Estimate | None
    distance: Estimate | None


class StrengthPoint(Record):
    """Chart: one strength of one kind of shift, mean over models.

    Attributes:
        strength: place among the strengths from 1; 0 is the ID task.
        anew: gain of greedy's plan searched at this strength.
        fixed: gain of the plan searched at the setting's fixed strength.
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
        norm_ci95, distance_ci95: their intervals over models; None where there are too few.
    """

    kind: str
    layer: int
    norm: float
    distance: float
    norm_ci95: Interval | None = None
    distance_ci95: Interval | None = None


class PlanPoint(Record):
    """Chart: one plan of the example cell; realignments and test gain."""

    drops: tuple[int, ...]
    norm: float
    distance: float
    gain: float
    greedy: bool = Field(description="Whether it is greedy's plan.")


class Scatter(Record):
    """Chart: realignment against gain over all plans of one example cell, and its rank correlations over all cells.

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
    """Chart: mean gain of one model over kinds and strengths."""

    model: str
    parameters: int
    gain: float


class LinePoint(Record):
    """Chart: the regression line of gains on log parameters, at one size."""

    parameters: int
    gain: Estimate


class Charts(Record):
    """What the charts of one setting draw; empty where nothing was measured."""

    heat: tuple[HeatTile, ...] = ()
    doses: tuple[DosePoint, ...] = ()
    strengths: tuple[StrengthPoint, ...] = ()
    profiles: tuple[ProfilePoint, ...] = ()
    scatter: Scatter | None = None
    sizes: tuple[SizePoint, ...] = ()
    line: tuple[LinePoint, ...] = ()


class StudiedModel(Record):
    """A model of a setting.

    Attributes:
        parameters: how many it has; None while nothing of it was measured.
        complete: kinds of shift, controls too, of which every strength was measured.
    """

    name: str
    parameters: int | None
    complete: int


class SettingFound(Record):
    """What one setting showed.

    Attributes:
        kinds: the tasks of every kind of shift, by rising strength.
        controls: the kinds that are in no pooled number.
        search, test: prompts of each task plans are searched and judged on.
        measured, missing: cells, of untuned models.
        tuned_measured, tuned_missing: models times kinds tuned for C7, measured on both sides of the comparison.
        doses_measured, doses_missing: models times kinds whose layers were scaled for C8.
        unjudged: why no claim can be decided here (too few models, floor or ceiling); empty where they can be.
        accuracy: of the full model on OOD data, where the score stands in for it; `chance` of guessing, where known.
        computed, labels: Q2.
        skills: lab only.
        judged: how well a judge without labels told the truths apart (Q3), where one was fitted.
    """

    name: str
    title: str
    models: tuple[StudiedModel, ...]
    id_task: str
    kinds: dict[str, tuple[str, ...]]
    controls: tuple[str, ...]
    search: int
    test: int
    measured: int
    missing: int
    tuned_measured: int = 0
    tuned_missing: int = 0
    doses_measured: int = 0
    doses_missing: int = 0
    unjudged: str = ""
    accuracy: Pooled | None = None
    chance: float | None = None
    claims: tuple[ClaimFound, ...]
    summaries: tuple[KindSummary, ...] = ()
    computed: tuple[Computed, ...] = ()
    labels: tuple[Labelled, ...] = ()
    skills: tuple[KindSkill, ...] = ()
    judged: dict[str, Any] | None = None
    charts: Charts = Charts()

    def claim(self, name: Claim) -> ClaimFound:
        """One claim in this setting.

        Raises:
            KeyError: it was not asked.
        """
        return {found.claim: found for found in self.claims}[name]


class StudyInfo(Record, protected_namespaces=()):
    """One study: what `tapioca lab study` returns, and `study.json` holds.

    Attributes:
        rules: every claim and its rule, as written down beforehand.
        margin: the change of error held to be nothing; `margin_log` the same as a gain.
        answers: every claim in plain words, over all settings.
        seconds: time spent measuring; None where it is not known.
    """

    title: str
    command: str = ""
    seed: int
    draws: int
    margin: float
    margin_log: float
    rules: dict[Claim, Rule]
    settings: tuple[SettingFound, ...]
    answers: dict[Claim, str]
    seconds: float | None = None

    @property
    def measured(self) -> int:
        """Cells measured in all settings, of untuned models."""
        return sum(setting.measured for setting in self.settings)

    @property
    def missing(self) -> int:
        """Cells not measured yet."""
        return sum(setting.missing for setting in self.settings)

    def setting(self, name: str) -> SettingFound:
        """The setting of one name.

        Raises:
            KeyError: there is none.
        """
        return {setting.name: setting for setting in self.settings}[name]
