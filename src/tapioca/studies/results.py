"""What a study found: claim by claim and setting by setting, with every number its page shows; goes to JSON and back.

Intervals (`Estimate`, `Pooled`) are over models and kinds of shift, crossed, and the prompts within, not over prompts
alone; those of one kind, or of one size, are over its models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from tapioca.errors import UsageError, did_you_mean
from tapioca.records.measures import Estimate
from tapioca.records.results import FileRecord, Record
from tapioca.studies.label_parts import LabelCurve
from tapioca.studies.measures import Unit
from tapioca.studies.parts import Charts, KindSkill, KindSummary, LabelledSearch, Pooled, Power, SearchCost
from tapioca.studies.rules import Decision, Margins, Rule
from tapioca.studies.spec import Claim

T = TypeVar("T")


class KindEstimate(Record):
    """A number of one kind of shift."""

    kind: str = Field(description="The kind of shift.")
    value: Pooled = Field(description="The mean over its strengths and models; `value.p` is of this kind alone.")
    p_holm: float | None = Field(
        default=None,
        description="The p-value corrected over the kinds of the setting by Holm's method; None for controls.",
    )


class SizeEstimate(Record):
    """A number of one model size, for one kind of shift or for all; with so few models only its sign is told."""

    parameters: int = Field(description="Of each model.")
    kind: str | None = Field(description="None for all kinds but controls together.")
    value: Estimate = Field(description="The number; its interval is over models.")
    models: int = Field(description="How many models.")

    @property
    def sign(self) -> Literal["+", "−", "0"]:
        """The sign of the value."""
        return "+" if self.value.value > 0 else "−" if self.value.value < 0 else "0"


class Finding(Record):
    """One measured number behind a claim."""

    name: str = Field(description="What was measured, in a few words; unique within a claim.")
    unit: Unit = Field(description="What it is counted in.")
    decides: bool = Field(description="Whether the rule is about it; the others stand beside.")
    pooled: Pooled | None = Field(description="Over all kinds but controls; None where nothing was measured.")
    kinds: tuple[KindEstimate, ...] = Field(
        default=(), description="Kind by kind; empty for what has no kind of shift."
    )
    controls: tuple[KindEstimate, ...] = Field(
        default=(), description="The same of kinds that are in no pooled number."
    )
    sizes: tuple[SizeEstimate, ...] = Field(default=(), description="Size by size, over all kinds but controls.")
    kind_sizes: tuple[SizeEstimate, ...] = Field(default=(), description="Size by size, of every kind, controls too.")
    left_out: int = Field(
        default=0, description="Cells that have no such number, for instance no ranks where all values are equal."
    )


class KindDecision(Record):
    """The rule of a claim applied to one kind of shift."""

    kind: str = Field(description="The kind of shift.")
    decision: Decision = Field(description="What the rule comes to.")
    reason: str = Field(description="Why, with the numbers.")
    p_holm: float | None = Field(
        default=None,
        description='Of the conditions behind the decision (or behind "supported", where inconclusive), corrected over kinds.',
    )


class ClaimResult(Record):
    """A claim judged in one setting."""

    claim: Claim = Field(description="What it is called in the study's file.")
    decision: Decision = Field(description="What its rule comes to.")
    reason: str = Field(description="Why, in one sentence with the numbers.")
    told_by: tuple[str, ...] = Field(
        default=(), description="Names of the findings that decided, or that kept it from being decided."
    )
    findings: tuple[Finding, ...] = Field(default=(), description="Those the rule is about first.")
    kinds: tuple[KindDecision, ...] = Field(
        default=(),
        description="The rule applied to each kind of shift alone, controls left out; empty where it has no kinds.",
    )

    def finding(self, name: str) -> Finding:
        """The finding of one name.

        Raises:
            UsageError: there is none.
        """
        return _find_named(name, {finding.name: finding for finding in self.findings}, "finding")


class StudiedModel(Record):
    """A model of a setting."""

    name: str = Field(description="Of its folder.")
    parameters: int | None = Field(description="How many it has; None while nothing of it was measured.")
    complete: int = Field(description="Kinds of shift, controls too, of which every strength was measured.")


class SettingResult(Record):
    """What one setting showed."""

    name: str = Field(description="What the study's file calls it.")
    title: str = Field(description="The same in a few words.")
    models: tuple[StudiedModel, ...] = Field(description="In the order of the file.")
    id_task: str = Field(description="The ID task.")
    kinds: dict[str, tuple[str, ...]] = Field(description="The tasks of every kind of shift, by rising strength.")
    controls: tuple[str, ...] = Field(description="The kinds that are in no pooled number.")
    search: int = Field(description="Prompts of each task that plans are searched on.")
    test: int = Field(description="Prompts of each task that plans are judged on.")
    measured: int = Field(description="Cells of untuned models that were measured.")
    missing: int = Field(description="Cells of untuned models that were not.")
    tuned_measured: int = Field(default=0, description="Models times kinds tuned for C7, beside their control.")
    tuned_missing: int = Field(default=0, description="Those of them that were not measured.")
    doses_measured: int = Field(default=0, description="Models times kinds whose layers were scaled for C8.")
    doses_missing: int = Field(default=0, description="Those of them that were not measured.")
    unjudged: str = Field(
        default="",
        description="Why no claim can be decided here (too few models, floor or ceiling); empty where they can be.",
    )
    accuracy: Pooled | None = Field(
        default=None, description="Of the full model on OOD data, where the score stands in for it."
    )
    chance: float | None = Field(default=None, description="Accuracy of guessing, where it is known.")
    claims: tuple[ClaimResult, ...]
    summaries: tuple[KindSummary, ...] = ()
    computed: tuple[SearchCost, ...] = Field(default=(), description="Q2: what a search costs.")
    labels: tuple[LabelledSearch, ...] = Field(default=(), description="Q2: what it brings with fewer labels.")
    label_curve: LabelCurve | None = Field(
        default=None, description="Q2: few labels beside criteria without any; None where these were not measured."
    )
    skills: tuple[KindSkill, ...] = Field(
        default=(), description="Each kind beside predictors that were never trained; lab only."
    )
    charts: Charts = Charts()

    def claim(self, name: Claim) -> ClaimResult:
        """One claim in this setting.

        Raises:
            UsageError: it was not asked.
        """
        return _find_named(name, {claim.claim: claim for claim in self.claims}, "claim")


class StudyResult(FileRecord, protected_namespaces=()):
    """One study: what `tapioca study` returns, and `study.json` holds."""

    title: str = Field(description="What the study's file calls it.")
    command: str = Field(default="", description="The command line that makes it again.")
    seed: int = Field(description="Of the prompts, of the splits and of all that is resampled.")
    n_resamples: int = Field(description="Of models, kinds of shift and prompts.")
    margins: Margins = Field(description="What is held to be nothing.")
    min_models: int = Field(description="Numbers of fewer models decide nothing.")
    ceiling: float = Field(description="Accuracy of the full model from which on nothing is decided.")
    rules: dict[Claim, Rule] = Field(description="Every claim and its rule, as written down beforehand.")
    amended: tuple[str, ...] = Field(
        default=(), description="What was changed of the study after first results had been seen, a sentence each."
    )
    power: tuple[Power, ...] = Field(default=(), description="What it could see, by the assumptions of its file.")
    settings: tuple[SettingResult, ...]
    answers: dict[Claim, str] = Field(description="Every claim in plain words, over all settings.")
    seconds: float | None = Field(default=None, description="Time spent measuring; None where it is not known.")
    folder: Path = Field(
        default=Path(), exclude=True, description="Where it was read from or is to be written; not part of the file."
    )

    @property
    def measured(self) -> int:
        """Cells measured in all settings, of untuned models."""
        return sum(setting.measured for setting in self.settings)

    @property
    def missing(self) -> int:
        """Cells not measured yet."""
        return sum(setting.missing for setting in self.settings)

    def setting(self, name: str) -> SettingResult:
        """The setting of one name.

        Raises:
            UsageError: there is none.
        """
        return _find_named(name, {setting.name: setting for setting in self.settings}, "setting")


def _find_named(name: str, known: Mapping[str, T], what: str) -> T:
    if name not in known:
        raise UsageError(f"unknown {what} '{name}'; {did_you_mean(name, known)}")
    return known[name]
