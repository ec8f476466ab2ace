"""What a study found: claim by claim and setting by setting, with every number its page shows; goes to JSON and back.

Intervals (`Estimate`, `Pooled`) are over models and kinds of shift, crossed, and the prompts within, not over prompts
alone; those of one kind, or of one size, are over its models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from tapioca.errors import UsageError, did_you_mean
from tapioca.records.diagnosis import CrossValidation
from tapioca.records.measures import Estimate
from tapioca.records.results import Record
from tapioca.studies.measures import Unit
from tapioca.studies.parts import Charts, KindSkill, KindSummary, LabelledSearch, Pooled, SearchCost
from tapioca.studies.rules import Decision, Margins, Rule
from tapioca.studies.spec import Claim

T = TypeVar("T")


class KindEstimate(Record):
    """A number of one kind of shift.

    Attributes:
        kind: the kind of shift.
        value: the mean over its strengths and models; `value.p` is of this kind alone.
        p_holm: the p-value corrected over the kinds of the setting by Holm's method; None for controls.
    """

    kind: str
    value: Pooled
    p_holm: float | None = None


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
    kinds: tuple[KindEstimate, ...] = ()
    controls: tuple[KindEstimate, ...] = ()
    sizes: tuple[SizeEstimate, ...] = ()
    kind_sizes: tuple[SizeEstimate, ...] = ()
    left_out: int = 0


class KindDecision(Record):
    """The rule of a claim applied to one kind of shift.

    Attributes:
        kind: the kind of shift.
        decision, reason: what the rule comes to, and why.
        p_holm: of the conditions behind the decision (or behind "supported", where inconclusive), corrected over kinds.
    """

    kind: str
    decision: Decision
    reason: str
    p_holm: float | None = None


class ClaimResult(Record):
    """A claim judged in one setting.

    Attributes:
        claim: what it is called in the study's file.
        decision: what its rule comes to.
        reason: why, in one sentence with the numbers.
        told_by: names of the findings that decided, or that kept it from being decided.
        findings: those the rule is about first.
        kinds: the rule applied to each kind of shift alone, controls left out; empty where it has no kinds.
    """

    claim: Claim
    decision: Decision
    reason: str
    told_by: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    kinds: tuple[KindDecision, ...] = ()

    def finding(self, name: str) -> Finding:
        """The finding of one name.

        Raises:
            UsageError: there is none.
        """
        return _find_named(name, {finding.name: finding for finding in self.findings}, "finding")


class StudiedModel(Record):
    """A model of a setting.

    Attributes:
        name: of its folder.
        parameters: how many it has; None while nothing of it was measured.
        complete: kinds of shift, controls too, of which every strength was measured.
    """

    name: str
    parameters: int | None
    complete: int


class SettingResult(Record):
    """What one setting showed.

    Attributes:
        name, title: as the study's file says.
        models: in the order of the file.
        id_task: the ID task.
        kinds: the tasks of every kind of shift, by rising strength.
        controls: the kinds that are in no pooled number.
        search, test: prompts of each task plans are searched and judged on.
        measured, missing: cells, of untuned models.
        tuned_measured, tuned_missing: models times kinds tuned for C7, measured on both sides of the comparison.
        doses_measured, doses_missing: models times kinds whose layers were scaled for C8.
        unjudged: why no claim can be decided here (too few models, floor or ceiling); empty where they can be.
        accuracy, chance: of the full model on OOD data, where the score stands in for it, and of guessing, where known.
        computed, labels: Q2: what a search costs, and what it brings with fewer labels.
        skills: each kind beside predictors that were never trained; lab only.
        judged: how well a classifier without labels told the truths apart (Q3), where one was fitted.
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
    claims: tuple[ClaimResult, ...]
    summaries: tuple[KindSummary, ...] = ()
    computed: tuple[SearchCost, ...] = ()
    labels: tuple[LabelledSearch, ...] = ()
    skills: tuple[KindSkill, ...] = ()
    judged: CrossValidation | None = None
    charts: Charts = Charts()

    def claim(self, name: Claim) -> ClaimResult:
        """One claim in this setting.

        Raises:
            UsageError: it was not asked.
        """
        return _find_named(name, {claim.claim: claim for claim in self.claims}, "claim")


class StudyInfo(Record, protected_namespaces=()):
    """One study: what `tapioca study` returns, and `study.json` holds.

    Attributes:
        title, seed, n_resamples: as the study's file says.
        command: the command line that makes it again.
        rules: every claim and its rule, as written down beforehand.
        amended: what was changed of the study after first results had been seen, a sentence each.
        margins: what is held to be nothing.
        min_models: numbers of fewer models decide nothing.
        ceiling: accuracy of the full model from which on nothing is decided.
        answers: every claim in plain words, over all settings.
        seconds: time spent measuring; None where it is not known.
        folder: where it was read from or is to be written; not part of the file.
    """

    title: str
    command: str = ""
    seed: int
    n_resamples: int
    margins: Margins
    min_models: int
    ceiling: float
    rules: dict[Claim, Rule]
    amended: tuple[str, ...] = ()
    settings: tuple[SettingResult, ...]
    answers: dict[Claim, str]
    seconds: float | None = None
    folder: Path = Field(default=Path(), exclude=True)

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
