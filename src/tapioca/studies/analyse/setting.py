"""From measured cells to verdicts: the whole analysis of a study."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tapioca.studies.analyse.cells import Grid
from tapioca.studies.analyse.charts import Drawing
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.analyse.estimates import Measure, Resampling
from tapioca.studies.analyse.interventions import Interventions
from tapioca.studies.analyse.questions import computed, labels, skills, summaries
from tapioca.studies.analyse.statistics import CellStatistics
from tapioca.studies.cell import Cell, Dose
from tapioca.studies.parts import Pooled
from tapioca.studies.results import ClaimFound, Finding, SettingFound, StudiedModel, StudyInfo
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim, Setting, StudyFile


def analyse(study: StudyFile, cells: Iterable[Cell], doses: Iterable[Dose] = ()) -> StudyInfo:
    """Judge every claim in every setting, and answer the open questions.

    Cells may be missing: complete pairs of a model and a kind of shift are used, and what is missing is counted.

    Args:
        study: what was asked.
        cells: of all settings, tuned models too.
        doses: sweeps of scales.
    """
    cells, doses = list(cells), list(doses)
    return join_settings(
        study, tuple(SettingAnalysis(study, setting, cells, doses).found() for setting in study.settings)
    )


def join_settings(study: StudyFile, settings: tuple[SettingFound, ...]) -> StudyInfo:
    """A study with what was found in its settings."""
    return StudyInfo(
        title=study.title,
        seed=study.seed,
        draws=study.draws,
        margins=study.margins,
        min_models=study.min_models,
        ceiling=study.ceiling,
        rules=study.claims,
        amended=study.amended,
        settings=settings,
        answers={claim: answer(claim, settings) for claim in study.claims},
    )


class SettingAnalysis:
    """The analysis of one setting.

    Args:
        study: what was asked.
        setting: one of its settings.
        cells, doses: what was measured, also of others.
    """

    def __init__(self, study: StudyFile, setting: Setting, cells: list[Cell], doses: list[Dose]):
        self.study, self.grid = study, Grid(setting, cells, doses)
        resampling, margin = Resampling(study.draws, study.seed), study.margins.log_ratio
        self.statistics = CellStatistics(self.grid, study.draws, study.seed, margin)
        self.interventions = Interventions(self.grid, study.draws, study.seed)
        self.claims = Claims(self.statistics, self.interventions, study.margins, study.min_models, resampling)
        self.accuracy = self.claims.measure("accuracy")

    def found(self) -> SettingFound:
        """All of it, for the record."""
        grid, setting = self.grid, self.grid.setting
        scaled = len(grid.models) * len(grid.pooled)
        tuned = len(self.grid.models) * len(setting.tuned)
        return SettingFound(
            name=setting.name,
            title=setting.title,
            models=self._models(),
            id_task=setting.id,
            kinds=setting.shifts,
            controls=setting.controls,
            search=self.study.search,
            test=self.study.test,
            measured=grid.measured,
            missing=grid.wanted - grid.measured,
            tuned_measured=self.interventions.tuned,
            tuned_missing=tuned - self.interventions.tuned,
            doses_measured=self.interventions.dosed,
            doses_missing=scaled - self.interventions.dosed,
            unjudged=self._unjudged(self.accuracy.main),
            accuracy=self.accuracy.main.pooled(),
            chance=self._chance(self.accuracy.main),
            claims=tuple(self._claim(claim) for claim in self.study.claims),
            summaries=summaries(self.claims),
            computed=computed(self.statistics),
            labels=labels(self.claims),
            skills=skills(self.statistics),
            charts=Drawing(self.claims).charts(),
        )

    def _models(self) -> tuple[StudiedModel, ...]:
        complete = [model for model, _, _ in self.grid.pairs()]
        return tuple(
            StudiedModel(
                name=name,
                parameters=int(parameters) if np.isfinite(parameters) else None,
                complete=complete.count(at),
            )
            for at, (name, parameters) in enumerate(zip(self.grid.models, self.grid.parameters, strict=True))
        )

    def _claim(self, claim: Claim) -> ClaimFound:
        question = self.claims.question(self.study.claims[claim])
        ruling, unjudged = question.rule.judge(), self._unjudged(self.accuracy.main)
        decision: Decision = "inconclusive" if unjudged else ruling.decision
        findings = tuple(measure.finding() for measure in question.measures)
        parts = [unjudged, ruling.reason, *self._gaps(findings)]
        return ClaimFound(
            claim=claim,
            decision=decision,
            reason="; ".join(part for part in parts if part),
            told_by=ruling.told_by,
            findings=findings,
            kinds=question.rule.by_kind({kind: self._unjudged(self.accuracy, kind) for kind in self.grid.pooled}),
        )

    def _gaps(self, findings: tuple[Finding, ...]) -> list[str]:
        """What the numbers that decide are not of."""
        missing, left = (
            self.grid.wanted - self.grid.measured,
            max((one.left_out for one in findings if one.decides), default=0),
        )
        said = [f"{missing} of {self.grid.wanted} cells not measured yet"] if missing else []
        return said + ([f"up to {left} places without such a number are left out"] if left else [])

    def _unjudged(self, accuracy: Measure, kind: str | None = None) -> str:
        """Why nothing can be decided: too few models, floor or ceiling; empty where it can be."""
        log_ratio = self.claims.measure("log_ratio").main
        models = _models(log_ratio.of(kind).pooled() if kind else log_ratio.pooled())
        if not models:
            return "nothing measured"
        if models < self.study.min_models:
            return f"fewer than {_in_words(self.study.min_models)} models ({models})"
        some = accuracy.of(kind) if kind else accuracy
        right, chance = some.pooled(), self._chance(some)
        if right is None:
            return ""
        low, high = right.ci95
        said = f"the full model is right in {100 * right.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        if right.value <= (chance or 0.0):
            return f"{said}, not above chance ({100 * (chance or 0.0):.1f} %)"
        return f"{said}, at the ceiling" if right.value >= self.study.ceiling else ""

    def _chance(self, accuracy: Measure) -> float | None:
        """Mean chance of guessing right over the cells an accuracy is of; None where there is none."""
        found = []
        for model, kind, strength in accuracy.table:
            cell = (self.grid.strengths(model, kind) or [])[strength]
            found.append(float(np.mean(cell.chance)))
        known = [chance for chance in found if np.isfinite(chance)]
        return float(np.mean(known)) if known else None


def answer(claim: Claim, settings: tuple[SettingFound, ...]) -> str:
    """A claim in plain words, over all settings."""
    told: dict[Decision, list[str]] = {"supported": [], "not supported": [], "inconclusive": []}
    for setting in settings:
        told[setting.claim(claim).decision].append(setting.name)
    parts = [f"{decision} in {', '.join(names)}" for decision, names in told.items() if names]
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def _models(pooled: Pooled | None) -> int:
    return pooled.models if pooled else 0


def _in_words(count: int) -> str:
    """A small number as prose has it."""
    return {2: "two", 3: "three", 4: "four", 5: "five"}.get(count, str(count))
