"""The tables of a study's page, one function each."""

from collections.abc import Callable, Iterable
from functools import partial

from tapioca.records import PROFILE_NAMES, Estimate, ProfileKind
from tapioca.report import format as words
from tapioca.report.format import p_value
from tapioca.report.tables import TableBlock, make_table
from tapioca.studies.label_parts import UnlabelledCriterion
from tapioca.studies.measures import DEVIATION, LOG_RATIO, Unit
from tapioca.studies.page.text import (
    format_decision,
    format_interval_in_unit,
    format_number_in_unit,
    format_pooled_effect,
    kind_name,
)
from tapioca.studies.parts import TRUTHS, KindSkill, KindSummary, LabelledSearch, Pooled, Power, SearchCost, Truth
from tapioca.studies.results import ClaimResult, Finding, SettingResult, SizeEstimate

PRIOR_LABELS = 8
"""Labels that choose among the plans which a criterion puts up, in the table."""


def tabulate_pooled(claim: ClaimResult) -> TableBlock:
    """Every number behind a claim, over all kinds but controls."""

    def write_count(name: str, finding: Finding) -> str:
        return str(getattr(finding.pooled, name)) if finding.pooled else "–"

    columns: dict[str, Callable[[Finding], str]] = {
        "what was measured": lambda finding: finding.name,
        "decides": lambda finding: "yes" if finding.decides else "beside",
        "mean [95 %]": format_pooled_effect,
        "p": lambda finding: p_value(finding.pooled.p) if finding.pooled else "–",
        **{name: partial(write_count, name) for name in ("models", "kinds", "cells", "prompts")},
        "without it": lambda finding: str(finding.left_out),
    }
    return make_table("pooled", claim.findings, columns)


def tabulate_kinds(claim: ClaimResult) -> TableBlock:
    """The rule applied to each kind of shift alone, with the numbers it is about; then controls, without a verdict."""
    findings = [finding for finding in claim.findings if finding.decides]
    decision_by_kind = {decision.kind: decision for decision in claim.kinds}
    kinds = dict.fromkeys([*decision_by_kind, *(row.kind for finding in findings for row in finding.kinds)])
    controls = dict.fromkeys(row.kind for finding in findings for row in finding.controls)
    columns: dict[str, Callable[[str], str]] = {
        "kind of shift": lambda kind: kind_name(kind, kind in controls),
        "verdict": lambda kind: format_decision(decision_by_kind[kind].decision) if kind in decision_by_kind else "–",
        "p (Holm)": lambda kind: p_value(decision_by_kind[kind].p_holm) if kind in decision_by_kind else "–",
    }
    return make_table("kind by kind", [*kinds, *controls], columns | _columns_of_kinds(findings))


def tabulate_kinds_beside(claim: ClaimResult) -> TableBlock:
    """The numbers a rule is not about, kind by kind, with p-values corrected over kinds."""
    findings = [finding for finding in claim.findings if not finding.decides]
    controls = {row.kind for finding in findings for row in finding.controls}
    kinds = dict.fromkeys(row.kind for finding in findings for row in (*finding.kinds, *finding.controls))
    columns: dict[str, Callable[[str], str]] = {"kind of shift": lambda kind: kind_name(kind, kind in controls)}
    return make_table("kind by kind, beside", kinds, columns | _columns_of_kinds(findings, corrected=True))


def _columns_of_kinds(findings: Iterable[Finding], corrected: bool = False) -> dict[str, Callable[[str], str]]:
    """A column for each number that kinds of shift have; with corrected p-values if asked."""

    def write(finding: Finding, kind: str) -> str:
        row = next((row for row in (*finding.kinds, *finding.controls) if row.kind == kind), None)
        if row is None:
            return "–"
        text = format_interval_in_unit(row.value, finding.unit)
        return f"{text}, p {p_value(row.p_holm)}" if corrected and row.p_holm is not None else text

    return {
        f"{finding.name} [95 %]": partial(write, finding) for finding in findings if finding.kinds or finding.controls
    }


def tabulate_sizes(claim: ClaimResult) -> TableBlock:
    """Signs and means at every size, over all kinds but controls."""
    findings = [finding for finding in claim.findings if finding.sizes]
    models_by_size = _count_models_by_size(row for finding in findings for row in finding.sizes)
    columns: dict[str, Callable[[int], str]] = {
        "parameters": words.format_quantity,
        "models": lambda size: str(models_by_size[size]),
        **{finding.name: partial(_format_sign, finding, None) for finding in findings},
    }
    return make_table("size by size", models_by_size, columns)


def tabulate_kinds_and_sizes(claim: ClaimResult) -> list[TableBlock]:
    """Signs and means of every kind of shift at every size, a table for each number the rule is about."""
    return [_tabulate_kind_sizes(finding) for finding in claim.findings if finding.decides and finding.kind_sizes]


def _tabulate_kind_sizes(finding: Finding) -> TableBlock:
    controls = {row.kind for row in finding.controls}
    columns: dict[str, Callable[[str], str]] = {"kind of shift": lambda kind: kind_name(kind, kind in controls)}
    for size in _count_models_by_size(finding.kind_sizes):
        columns[f"{words.format_quantity(size)} parameters"] = partial(_format_sign, finding, size=size)
    return make_table(finding.name, dict.fromkeys(row.kind for row in finding.kind_sizes if row.kind), columns)


def tabulate_summaries(setting: SettingResult) -> TableBlock:
    """Q1: log ratio and deviations of every kind."""

    def write_deviation(kind: ProfileKind, summary: KindSummary) -> str:
        return _interval_or_dash(getattr(summary, kind), DEVIATION)

    columns: dict[str, Callable[[KindSummary], str]] = {
        "kind of shift": lambda summary: kind_name(summary.kind, summary.control),
        "log ratio [95 %]": lambda summary: _interval_or_dash(summary.log_ratio, LOG_RATIO),
    }
    for kind in PROFILE_NAMES:
        columns[f"{kind} deviation over its null [95 %]"] = partial(write_deviation, kind)
    return make_table("kind by kind", setting.summaries, columns)


def tabulate_skills(setting: SettingResult) -> TableBlock:
    """Skill beside ridge regression."""
    columns: dict[str, Callable[[KindSkill], str]] = {
        "kind of shift": lambda skill: kind_name(skill.kind, skill.control),
        "full model": lambda skill: f"{skill.full:.3f}",
        "greedy's plan": lambda skill: f"{skill.pruned:.3f}",
        "ridge": lambda skill: f"{skill.ridge:.3f}",
        "gap closed": lambda skill: _format_percent(skill.gap_closed),
        "cells with a gap": lambda skill: f"{skill.gaps} of {skill.cells}",
        "tail only": lambda skill: _format_percent(skill.tail_only, digits=0),
    }
    return make_table("skill: 1 - error / error of the constant, medians over cells", setting.skills, columns)


def tabulate_costs(setting: SettingResult) -> TableBlock:
    """Q2: what searches compute."""
    columns: dict[str, Callable[[SearchCost], str]] = {
        "search": lambda cost: cost.search,
        "plans tried": lambda cost: f"{cost.plans:.1f}",
        "layers for one prompt": lambda cost: f"{cost.tree:.1f}",
        "every plan from scratch": lambda cost: f"{cost.scratch:.1f}",
        "ratio": lambda cost: f"{cost.scratch / cost.tree:.2f}",
    }
    return make_table("what a search computes, means over cells", setting.computed, columns)


def tabulate_label_counts(setting: SettingResult) -> TableBlock:
    """Q2: what a search with few labelled prompts brings."""
    columns: dict[str, Callable[[LabelledSearch], str]] = {
        "search prompts": lambda labelled: str(labelled.prompts),
        "held-out log ratio [95 %]": lambda labelled: _interval_or_dash(labelled.log_ratio, LOG_RATIO),
        "share of that with all [95 %]": lambda labelled: _interval_or_dash(labelled.share, "share"),
    }
    return make_table("labelled prompts", setting.labels, columns)


def tabulate_criteria(setting: SettingResult) -> TableBlock:
    """Q2: what criteria without labels bring, and how many labels each is worth."""
    curve = setting.label_curve
    most = max((point.prompts for point in curve.points), default=0) if curve else 0

    def write_worth(count: float | None) -> str:
        return f"more than {most}" if count is None else f"{count:.0f}"

    def write_prior(criterion: UnlabelledCriterion) -> str:
        point = next((point for point in criterion.prior if point.prompts == PRIOR_LABELS), None)
        return "–" if point is None else _interval_or_dash(point.log_ratio, LOG_RATIO)

    columns: dict[str, Callable[[UnlabelledCriterion], str]] = {
        "criterion": lambda criterion: criterion.name,
        "held-out log ratio [95 %]": lambda criterion: _interval_or_dash(criterion.log_ratio, LOG_RATIO),
        "full model kept": lambda criterion: _format_percent(criterion.empty, 0),
        "worth in labels [95 %]": lambda criterion: (
            f"{write_worth(criterion.labels_worth)} [{', '.join(map(write_worth, criterion.labels_worth_ci95))}]"
        ),
        f"best of its first {curve.shortlist if curve else 0} by {PRIOR_LABELS} labels": write_prior,
    }
    return make_table("criteria without labels", curve.criteria if curve else (), columns)


def tabulate_power(power: Iterable[Power]) -> TableBlock:
    """How often a study would see the effects that its file assumes, setting by setting."""
    by_measure: dict[tuple[str, float], dict[str, Power]] = {}
    for row in power:
        by_measure.setdefault((row.measure, row.effect), {})[row.setting] = row
    settings = dict.fromkeys(setting for rows in by_measure.values() for setting in rows)

    def write_power(setting: str, item: tuple[tuple[str, float], dict[str, Power]]) -> str:
        row = item[1].get(setting)
        return "–" if row is None else _format_percent(row.power, 0)

    columns: dict[str, Callable[[tuple[tuple[str, float], dict[str, Power]]], str]] = {
        "effect": lambda item: f"{item[0][0]} of {item[0][1]:+g}".replace("-", "−"),
        **{setting: partial(write_power, setting) for setting in settings},
    }
    return make_table("power", by_measure.items(), columns)


def tabulate_truths(setting: SettingResult) -> TableBlock:
    """Q3: what the cells of every kind truly are."""

    def write_count(truth: Truth, summary: KindSummary) -> str:
        return str(summary.truths.get(truth, 0))

    columns: dict[str, Callable[[KindSummary], str]] = {
        "kind of shift": lambda summary: kind_name(summary.kind, summary.control),
        **{truth: partial(write_count, truth) for truth in TRUTHS},
    }
    return make_table("cells by what labels say of them", setting.summaries, columns)


def _format_percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _interval_or_dash(estimate: Pooled | Estimate | None, unit: Unit) -> str:
    return "–" if estimate is None else format_interval_in_unit(estimate, unit)


def _count_models_by_size(rows: Iterable[SizeEstimate]) -> dict[int, int]:
    """Models of every size, by rising size."""
    counts: dict[int, int] = {}
    for row in rows:
        counts[row.parameters] = max(row.models, counts.get(row.parameters, 0))
    return dict(sorted(counts.items()))


def _format_sign(finding: Finding, kind: str | None, size: int) -> str:
    """The sign of a number of one kind, or of all kinds but controls, at one size, and the number."""
    rows = finding.kind_sizes if kind else finding.sizes
    row = next((row for row in rows if (row.kind, row.parameters) == (kind, size)), None)
    return "–" if row is None else f"{row.sign} ({format_number_in_unit(row.value.value, finding.unit)})"
