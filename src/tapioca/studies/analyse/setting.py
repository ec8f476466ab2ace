"""From measured cells to verdicts: the whole analysis of a study."""

from dataclasses import dataclass
from typing import Self, get_args

import numpy as np

from tapioca.studies.analyse.cells import SettingAxes
from tapioca.studies.analyse.charts import ChartBuilder
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure
from tapioca.studies.analyse.numbers import SettingNumbers
from tapioca.studies.analyse.power import estimate_power
from tapioca.studies.analyse.questions import (
    measure_label_counts,
    measure_search_costs,
    summarise_kinds,
    summarise_skills,
)
from tapioca.studies.analyse.unlabelled import LabelCurveBuilder
from tapioca.studies.results import ClaimResult, Finding, SettingResult, StudiedModel, StudyResult
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim, StudyFile


def join_settings(study: StudyFile, settings: tuple[SettingResult, ...]) -> StudyResult:
    """A study with what was found in its settings."""
    return StudyResult(
        title=study.title,
        seed=study.seed,
        n_resamples=study.n_resamples,
        margins=study.margins,
        min_models=study.min_models,
        ceiling=study.ceiling,
        rules=study.claims,
        amended=study.amended,
        power=estimate_power(study),
        settings=settings,
        answers={claim: answer_claim(claim, settings) for claim in study.claims},
    )


@dataclass(frozen=True, eq=False)
class SettingAnalysis:
    """The analysis of one setting.

    Attributes:
        claims: on the statistics of the cells and of the interventions.
        accuracy: of the full models.
    """

    claims: Claims
    accuracy: Measure

    @classmethod
    def of_numbers(cls, numbers: SettingNumbers) -> Self:
        """The analysis of a setting's numbers."""
        claims = Claims(numbers)
        return cls(claims, claims.measure("accuracy"))

    @property
    def axes(self) -> SettingAxes:
        """Models and kinds of the setting, and what was asked."""
        return self.claims.axes

    def to_result(self) -> SettingResult:
        """All of it, for the record."""
        axes, setting, numbers = self.axes, self.axes.setting, self.claims.numbers
        n_tuned, n_dosed = (len(numbers.tables[name]) for name in ("tuned_log_ratio", "error_with_norm_over_scales"))
        accuracy = self.accuracy.without_controls
        return SettingResult(
            name=setting.name,
            title=setting.title,
            models=self._models(),
            id_task=setting.id,
            kinds=setting.shifts,
            controls=setting.controls,
            search=axes.study.search,
            test=axes.study.test,
            measured=numbers.measured,
            missing=axes.wanted - numbers.measured,
            tuned_measured=n_tuned,
            tuned_missing=len(axes.models) * len(setting.tuned) - n_tuned,
            doses_measured=n_dosed,
            doses_missing=len(axes.models) * len(axes.pooled) - n_dosed,
            unjudged=self._reason_unjudged(accuracy),
            accuracy=accuracy.pooled(),
            chance=self._mean_chance(accuracy),
            claims=tuple(self._claim(claim) for claim in axes.study.claims),
            summaries=summarise_kinds(self.claims),
            computed=measure_search_costs(numbers),
            labels=measure_label_counts(self.claims),
            label_curve=LabelCurveBuilder(numbers).build(),
            skills=summarise_skills(numbers),
            charts=ChartBuilder(self.claims).build(),
        )

    def _models(self) -> tuple[StudiedModel, ...]:
        return tuple(
            StudiedModel(
                name=name,
                parameters=int(parameters) if np.isfinite(parameters) else None,
                complete=self.claims.numbers.count_complete(place),
            )
            for place, (name, parameters) in enumerate(zip(self.axes.models, self.axes.parameters, strict=True))
        )

    def _claim(self, claim: Claim) -> ClaimResult:
        rule = self.claims.measured_rule(self.axes.study.claims[claim])
        ruling, unjudged = rule.decide(), self._reason_unjudged(self.accuracy.without_controls)
        decision: Decision = "inconclusive" if unjudged else ruling.decision
        findings = tuple(measure.to_finding() for measure in rule.measures)
        parts = [unjudged, ruling.reason, *self._describe_gaps(findings)]
        return ClaimResult(
            claim=claim,
            decision=decision,
            reason="; ".join(part for part in parts if part),
            told_by=ruling.told_by,
            findings=findings,
            kinds=rule.decide_by_kind({kind: self._reason_unjudged(self.accuracy, kind) for kind in self.axes.pooled}),
        )

    def _describe_gaps(self, findings: tuple[Finding, ...]) -> list[str]:
        """What the numbers that decide are not of."""
        n_missing = self.axes.wanted - self.claims.numbers.measured
        n_left_out = max((finding.left_out for finding in findings if finding.decides), default=0)
        gaps = [f"{n_missing} of {self.axes.wanted} cells not measured yet"] if n_missing else []
        return gaps + ([f"up to {n_left_out} places without such a number are left out"] if n_left_out else [])

    def _reason_unjudged(self, accuracy: Measure, kind: str | None = None) -> str:
        """Why nothing can be decided: too few models, floor or ceiling; empty where it can be."""
        log_ratio = self.claims.measure("log_ratio").without_controls
        log_ratios = (log_ratio.of_kinds(kind) if kind else log_ratio).pooled()
        n_models = log_ratios.models if log_ratios else 0
        if not n_models:
            return "nothing measured"
        if n_models < self.axes.study.min_models:
            return f"fewer than {_in_words(self.axes.study.min_models)} models ({n_models})"
        measure = accuracy.of_kinds(kind) if kind else accuracy
        mean_accuracy, chance = measure.pooled(), self._mean_chance(measure)
        if mean_accuracy is None:
            return ""
        low, high = mean_accuracy.ci95
        text = f"the full model is right in {100 * mean_accuracy.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        floor = (chance or 0.0) + self.axes.study.floor
        if mean_accuracy.value <= floor:
            return f"{text}, not above {'chance' if not self.axes.study.floor else 'the floor'} ({100 * floor:.1f} %)"
        return f"{text}, at the ceiling" if mean_accuracy.value >= self.axes.study.ceiling else ""

    def _mean_chance(self, accuracy: Measure) -> float | None:
        """Mean chance of guessing right over the cells an accuracy is of; None where there is none."""
        chances = np.array([self.claims.numbers.tables["chance"][index].value for index in accuracy.table])
        return float(np.nanmean(chances)) if np.isfinite(chances).any() else None


def answer_claim(claim: Claim, settings: tuple[SettingResult, ...]) -> str:
    """A claim in plain words, over all settings."""
    names = {
        decision: [setting.name for setting in settings if setting.claim(claim).decision == decision]
        for decision in get_args(Decision)
    }
    text = "; ".join(f"{decision} in {', '.join(listed)}" for decision, listed in names.items() if listed)
    return f"{text[:1].upper()}{text[1:]}."


def _in_words(count: int) -> str:
    """A small number as prose has it."""
    return {2: "two", 3: "three", 4: "four", 5: "five"}.get(count, str(count))
