"""The tables of a study's page, one function each."""

from __future__ import annotations

from collections.abc import Iterable

from tapioca.records.diagnosis import Accuracy, CrossValidation
from tapioca.report import format as words
from tapioca.report.format import p_value
from tapioca.report.tables import TableBlock
from tapioca.studies.page.text import (
    format_decision,
    format_interval_in_unit,
    format_number_in_unit,
    format_pooled_effect,
    kind_name,
)
from tapioca.studies.parts import TRUTHS
from tapioca.studies.results import ClaimResult, Finding, KindDecision, KindEstimate, SettingResult, SizeEstimate


def tabulate_pooled(claim: ClaimResult) -> TableBlock:
    """Every number behind a claim, over all kinds but controls."""
    head = ("what was measured", "decides", "mean [95 %]", "p", "models", "kinds", "cells", "prompts", "without it")
    rows = []
    for finding in claim.findings:
        estimate = finding.pooled
        counts = ["–"] * 5
        if estimate:
            numbers = estimate.models, estimate.kinds, estimate.cells, estimate.prompts
            counts = [p_value(estimate.p), *map(str, numbers)]
        decides = "yes" if finding.decides else "beside"
        rows.append((finding.name, decides, format_pooled_effect(finding), *counts, str(finding.left_out)))
    return TableBlock("pooled", head, tuple(rows))


def tabulate_kinds(claim: ClaimResult) -> TableBlock:
    """The rule applied to each kind of shift alone, with the numbers it is about; then controls, without a verdict."""
    deciding_findings = [
        finding for finding in claim.findings if finding.decides and (finding.kinds or finding.controls)
    ]
    decision_by_kind = {decision.kind: decision for decision in claim.kinds}
    kinds = dict.fromkeys(
        [*decision_by_kind, *(of_kind.kind for finding in deciding_findings for of_kind in finding.kinds)]
    )
    rows = [
        _kind_row(
            kind,
            decision_by_kind.get(kind),
            [_format_of_kind(kind, finding.kinds, finding) for finding in deciding_findings],
        )
        for kind in kinds
    ]
    for kind in dict.fromkeys(of_kind.kind for finding in deciding_findings for of_kind in finding.controls):
        texts = [_format_of_kind(kind, finding.controls, finding) for finding in deciding_findings]
        rows.append((kind_name(kind, control=True), "–", "–", *texts))
    head = ("kind of shift", "verdict", "p (Holm)", *(f"{finding.name} [95 %]" for finding in deciding_findings))
    return TableBlock("kind by kind", head, tuple(rows))


def tabulate_kinds_beside(claim: ClaimResult) -> TableBlock:
    """The numbers a rule is not about, kind by kind, with p-values corrected over kinds."""
    other_findings = [
        finding for finding in claim.findings if not finding.decides and (finding.kinds or finding.controls)
    ]
    controls = {of_kind.kind for finding in other_findings for of_kind in finding.controls}
    kinds = dict.fromkeys(of_kind.kind for finding in other_findings for of_kind in (*finding.kinds, *finding.controls))
    rows = tuple(
        (
            kind_name(kind, kind in controls),
            *(_format_of_kind(kind, (*finding.kinds, *finding.controls), finding, True) for finding in other_findings),
        )
        for kind in kinds
    )
    return TableBlock(
        "kind by kind, beside", ("kind of shift", *(f"{finding.name} [95 %]" for finding in other_findings)), rows
    )


def tabulate_sizes(claim: ClaimResult) -> TableBlock:
    """Signs and means at every size, over all kinds but controls."""
    sized_findings = [finding for finding in claim.findings if finding.sizes]
    models_by_size = _count_models_by_size(of_size for finding in sized_findings for of_size in finding.sizes)
    rows = tuple(
        (
            words.format_quantity(size),
            str(count),
            *(_format_sign(size, finding.sizes, finding) for finding in sized_findings),
        )
        for size, count in models_by_size.items()
    )
    return TableBlock("size by size", ("parameters", "models", *(finding.name for finding in sized_findings)), rows)


def tabulate_kinds_and_sizes(claim: ClaimResult) -> list[TableBlock]:
    """Signs and means of every kind of shift at every size, a table for each number the rule is about."""
    blocks = []
    for finding in claim.findings:
        if finding.decides and finding.kind_sizes:
            models_by_size = _count_models_by_size(finding.kind_sizes)
            controls = {of_kind.kind for of_kind in finding.controls}
            kinds = dict.fromkeys(of_size.kind for of_size in finding.kind_sizes if of_size.kind)
            rows = tuple(
                (
                    kind_name(kind, kind in controls),
                    *(
                        _format_sign(size, (of_size for of_size in finding.kind_sizes if of_size.kind == kind), finding)
                        for size in models_by_size
                    ),
                )
                for kind in kinds
            )
            head = ("kind of shift", *(f"{words.format_quantity(size)} parameters" for size in models_by_size))
            blocks.append(TableBlock(finding.name, head, rows))
    return blocks


def tabulate_summaries(setting: SettingResult) -> TableBlock:
    """Q1: log ratio and deviations of every kind."""
    rows = tuple(
        (
            kind_name(summary.kind, summary.control),
            format_interval_in_unit(summary.log_ratio, "log ratio of errors") if summary.log_ratio else "–",
            *(
                format_interval_in_unit(deviation, "mean |log ratio|") if deviation else "–"
                for deviation in (summary.norm, summary.distance)
            ),
        )
        for summary in setting.summaries
    )
    head = (
        "kind of shift",
        "log ratio [95 %]",
        "norm deviation over its null [95 %]",
        "distance deviation over its null [95 %]",
    )
    return TableBlock("kind by kind", head, rows)


def tabulate_skills(setting: SettingResult) -> TableBlock:
    """Skill beside ridge regression."""
    rows = tuple(
        (
            kind_name(kind_skill.kind, kind_skill.control),
            *(f"{skill:.3f}" for skill in (kind_skill.full, kind_skill.pruned, kind_skill.ridge)),
            "–" if kind_skill.gap_closed is None else f"{100 * kind_skill.gap_closed:.1f} %",
            f"{kind_skill.gaps} of {kind_skill.cells}",
            "–" if kind_skill.tail_only is None else f"{100 * kind_skill.tail_only:.0f} %",
        )
        for kind_skill in setting.skills
    )
    head = ("kind of shift", "full model", "greedy's plan", "ridge", "gap closed", "cells with a gap", "tail only")
    return TableBlock("skill: 1 - error / error of the constant, medians over cells", head, rows)


def tabulate_costs(setting: SettingResult) -> TableBlock:
    """Q2: what searches compute."""
    rows = tuple(
        (cost.search, f"{cost.plans:.1f}", f"{cost.tree:.1f}", f"{cost.scratch:.1f}", f"{cost.scratch / cost.tree:.2f}")
        for cost in setting.computed
    )
    head = ("search", "plans tried", "layers for one prompt", "every plan from scratch", "ratio")
    return TableBlock("what a search computes, means over cells", head, rows)


def tabulate_label_counts(setting: SettingResult) -> TableBlock:
    """Q2: what a search with few labelled prompts brings."""
    rows = tuple(
        (
            str(labelled.prompts),
            format_interval_in_unit(labelled.log_ratio, "log ratio of errors"),
            format_interval_in_unit(labelled.share, "share") if labelled.share else "–",
        )
        for labelled in setting.labels
    )
    return TableBlock(
        "labelled prompts", ("search prompts", "held-out log ratio [95 %]", "share of that with all [95 %]"), rows
    )


def tabulate_truths(setting: SettingResult) -> TableBlock:
    """Q3: what the cells of every kind truly are."""
    rows = tuple(
        (kind_name(summary.kind, summary.control), *(str(summary.truths.get(truth, 0)) for truth in TRUTHS))
        for summary in setting.summaries
    )
    return TableBlock("cells by what labels say of them", ("kind of shift", *TRUTHS), rows)


def tabulate_confusion(judged: CrossValidation) -> TableBlock:
    """What a classifier without labels said of cells, by what they are."""
    verdicts = list(dict.fromkeys(verdict for counts in judged.confusion.values() for verdict in counts))
    rows = tuple(
        (truth, *(str(counts.get(verdict, 0)) for verdict in verdicts)) for truth, counts in judged.confusion.items()
    )
    return TableBlock("truth (rows) against what was said (columns), in cells", ("truth", *verdicts), rows)


def tabulate_accuracy(judged: CrossValidation) -> TableBlock:
    """How often a classifier is right on kinds it was not fitted on, beside always giving the commonest truth."""
    rows = (
        _accuracy_row("all decided cells, the likelier class where it would rather not tell", judged.forced),
        _accuracy_row("those on which it tells", judged.answered),
        _accuracy_row("distorted against misaligned, deviation above its null", judged.beyond),
    )
    commonest = "always the commonest"
    head = ("over", "cells", "balanced accuracy [95 %]", commonest, "plain accuracy", commonest)
    return TableBlock("how often it is right", head, rows)


def _accuracy_row(cases: str, accuracy: Accuracy) -> tuple[str, ...]:
    interval = f" [{_format_percent(accuracy.ci95[0])}, {_format_percent(accuracy.ci95[1])}]" if accuracy.ci95 else ""
    return (
        cases,
        str(sum(accuracy.cases.values())),
        _format_percent(accuracy.balanced) + interval,
        _format_percent(accuracy.chance),
        _format_percent(accuracy.plain),
        _format_percent(accuracy.commonest),
    )


def _format_percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _kind_row(kind: str, decision: KindDecision | None, texts: list[str]) -> tuple[str, ...]:
    verdict_texts = (format_decision(decision.decision), p_value(decision.p_holm)) if decision else ("–", "–")
    return (kind_name(kind), *verdict_texts, *texts)


def _format_of_kind(kind: str, of_kinds: Iterable[KindEstimate], finding: Finding, corrected: bool = False) -> str:
    """The number of one kind; with its corrected p-value if asked."""
    of_kind = next((of_kind for of_kind in of_kinds if of_kind.kind == kind), None)
    if of_kind is None:
        return "–"
    text = format_interval_in_unit(of_kind.value, finding.unit)
    return f"{text}, p {p_value(of_kind.p_holm)}" if corrected and of_kind.p_holm is not None else text


def _count_models_by_size(of_sizes: Iterable[SizeEstimate]) -> dict[int, int]:
    """Models of every size, by rising size."""
    counts: dict[int, int] = {}
    for of_size in of_sizes:
        counts[of_size.parameters] = max(of_size.models, counts.get(of_size.parameters, 0))
    return dict(sorted(counts.items()))


def _format_sign(size: int, of_sizes: Iterable[SizeEstimate], finding: Finding) -> str:
    """The sign of a number at one size, and the number."""
    of_size = next((of_size for of_size in of_sizes if of_size.parameters == size), None)
    return "–" if of_size is None else f"{of_size.sign} ({format_number_in_unit(of_size.value.value, finding.unit)})"
