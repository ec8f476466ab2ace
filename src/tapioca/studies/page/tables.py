"""The tables of a study's page, one function each."""

from __future__ import annotations

from collections.abc import Iterable

from tapioca.records.diagnosis import Accuracy, Judged
from tapioca.report import words
from tapioca.report.geometry import Block
from tapioca.report.words import p_value
from tapioca.studies.page.text import effect, interval, kind_name, number, verdict
from tapioca.studies.parts import TRUTHS
from tapioca.studies.results import ClaimFound, Finding, KindDecision, OfKind, OfSize, SettingFound


def pooled(found: ClaimFound) -> Block:
    """Every number behind a claim, over all kinds but controls."""
    head = ("what was measured", "decides", "mean [95 %]", "p", "models", "kinds", "cells", "prompts", "without it")
    rows = []
    for finding in found.findings:
        over = finding.pooled
        counts = (
            [p_value(over.p), *map(str, (over.models, over.kinds, over.cells, over.prompts))] if over else ["–"] * 5
        )
        decides = "yes" if finding.decides else "beside"
        rows.append((finding.name, decides, effect(finding), *counts, str(finding.left_out)))
    return Block("pooled", head, tuple(rows))


def by_kind(found: ClaimFound) -> Block:
    """The rule applied to each kind of shift alone, with the numbers it is about; then controls, without a verdict."""
    deciding = [finding for finding in found.findings if finding.decides and (finding.kinds or finding.controls)]
    decided = {one.kind: one for one in found.kinds}
    kinds = dict.fromkeys([*decided, *(one.kind for finding in deciding for one in finding.kinds)])
    rows = [_kind_row(kind, decided.get(kind), [_of(kind, one.kinds, one) for one in deciding]) for kind in kinds]
    for kind in dict.fromkeys(one.kind for finding in deciding for one in finding.controls):
        numbers = [_of(kind, one.controls, one) for one in deciding]
        rows.append((kind_name(kind, control=True), "–", "–", *numbers))
    head = ("kind of shift", "verdict", "p (Holm)", *(f"{finding.name} [95 %]" for finding in deciding))
    return Block("kind by kind", head, tuple(rows))


def beside_by_kind(found: ClaimFound) -> Block:
    """The numbers a rule is not about, kind by kind, with p-values corrected over kinds."""
    others = [finding for finding in found.findings if not finding.decides and (finding.kinds or finding.controls)]
    controls = {one.kind for finding in others for one in finding.controls}
    kinds = dict.fromkeys(one.kind for finding in others for one in (*finding.kinds, *finding.controls))
    rows = tuple(
        (kind_name(kind, kind in controls), *(_of(kind, (*one.kinds, *one.controls), one, True) for one in others))
        for kind in kinds
    )
    return Block("kind by kind, beside", ("kind of shift", *(f"{one.name} [95 %]" for one in others)), rows)


def by_size(found: ClaimFound) -> Block:
    """Signs and means at every size, over all kinds but controls."""
    sized = [finding for finding in found.findings if finding.sizes]
    sizes = _sizes(one for finding in sized for one in finding.sizes)
    rows = tuple(
        (words.quantity(size), str(count), *(_signed(size, finding.sizes, finding) for finding in sized))
        for size, count in sizes.items()
    )
    return Block("size by size", ("parameters", "models", *(finding.name for finding in sized)), rows)


def by_kind_and_size(found: ClaimFound) -> list[Block]:
    """Signs and means of every kind of shift at every size, a table for each number the rule is about."""
    blocks = []
    for finding in found.findings:
        if finding.decides and finding.kind_sizes:
            sizes = _sizes(finding.kind_sizes)
            controls = {one.kind for one in finding.controls}
            kinds = dict.fromkeys(one.kind for one in finding.kind_sizes if one.kind)
            rows = tuple(
                (
                    kind_name(kind, kind in controls),
                    *(
                        _signed(size, (one for one in finding.kind_sizes if one.kind == kind), finding)
                        for size in sizes
                    ),
                )
                for kind in kinds
            )
            head = ("kind of shift", *(f"{words.quantity(size)} parameters" for size in sizes))
            blocks.append(Block(finding.name, head, rows))
    return blocks


def summaries(setting: SettingFound) -> Block:
    """Q1: log ratio and deviations of every kind."""
    rows = tuple(
        (
            kind_name(one.kind, one.control),
            interval(one.log_ratio, "log ratio of errors") if one.log_ratio else "–",
            *(interval(found, "mean |log ratio|") if found else "–" for found in (one.norm, one.distance)),
        )
        for one in setting.summaries
    )
    head = (
        "kind of shift",
        "log ratio [95 %]",
        "norm deviation over its null [95 %]",
        "distance deviation over its null [95 %]",
    )
    return Block("kind by kind", head, rows)


def skills(setting: SettingFound) -> Block:
    """Skill beside ridge regression."""
    rows = tuple(
        (
            kind_name(one.kind, one.control),
            *(f"{value:.3f}" for value in (one.full, one.pruned, one.ridge)),
            "–" if one.gap_closed is None else f"{100 * one.gap_closed:.1f} %",
            f"{one.gaps} of {one.cells}",
            "–" if one.tail_only is None else f"{100 * one.tail_only:.0f} %",
        )
        for one in setting.skills
    )
    head = ("kind of shift", "full model", "greedy's plan", "ridge", "gap closed", "cells with a gap", "tail only")
    return Block("skill: 1 - error / error of the constant, medians over cells", head, rows)


def costs(setting: SettingFound) -> Block:
    """Q2: what searches compute."""
    rows = tuple(
        (one.search, f"{one.plans:.1f}", f"{one.tree:.1f}", f"{one.scratch:.1f}", f"{one.scratch / one.tree:.2f}")
        for one in setting.computed
    )
    head = ("search", "plans tried", "layers for one prompt", "every plan from scratch", "ratio")
    return Block("what a search computes, means over cells", head, rows)


def labels(setting: SettingFound) -> Block:
    """Q2: what a search with few labelled prompts brings."""
    rows = tuple(
        (
            str(one.prompts),
            interval(one.log_ratio, "log ratio of errors"),
            interval(one.share, "share") if one.share else "–",
        )
        for one in setting.labels
    )
    return Block(
        "labelled prompts", ("search prompts", "held-out log ratio [95 %]", "share of that with all [95 %]"), rows
    )


def truths(setting: SettingFound) -> Block:
    """Q3: what the cells of every kind truly are."""
    rows = tuple(
        (kind_name(one.kind, one.control), *(str(one.truths.get(truth, 0)) for truth in TRUTHS))
        for one in setting.summaries
    )
    return Block("cells by what labels say of them", ("kind of shift", *TRUTHS), rows)


def confusion(judged: Judged) -> Block:
    """What a judge without labels said of cells, by what they are."""
    verdicts = list(dict.fromkeys(verdict for counts in judged.confusion.values() for verdict in counts))
    rows = tuple(
        (truth, *(str(counts.get(verdict, 0)) for verdict in verdicts)) for truth, counts in judged.confusion.items()
    )
    return Block("truth (rows) against what was said (columns), in cells", ("truth", *verdicts), rows)


def judged_accuracy(judged: Judged) -> Block:
    """How often a judge is right on kinds it was not fitted on, beside always giving the commonest truth."""
    rows = (
        _accuracy_row("all decided cells, the likelier class where it would rather not tell", judged.forced),
        _accuracy_row("those on which it tells", judged.answered),
        _accuracy_row("distorted against misaligned, deviation above its null", judged.beyond),
    )
    commonest = "always the commonest"
    head = ("over", "cells", "balanced accuracy [95 %]", commonest, "plain accuracy", commonest)
    return Block("how often it is right", head, rows)


def _accuracy_row(cases: str, accuracy: Accuracy) -> tuple[str, ...]:
    interval = f" [{_percent(accuracy.ci95[0])}, {_percent(accuracy.ci95[1])}]" if accuracy.ci95 else ""
    return (
        cases,
        str(sum(accuracy.cases.values())),
        _percent(accuracy.balanced) + interval,
        _percent(accuracy.chance),
        _percent(accuracy.plain),
        _percent(accuracy.commonest),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _kind_row(kind: str, decided: KindDecision | None, numbers: list[str]) -> tuple[str, ...]:
    said = (verdict(decided.decision), p_value(decided.p_holm)) if decided else ("–", "–")
    return (kind_name(kind), *said, *numbers)


def _of(kind: str, found: Iterable[OfKind], finding: Finding, corrected: bool = False) -> str:
    """The number of one kind; with its corrected p-value if asked."""
    one = next((one for one in found if one.kind == kind), None)
    if one is None:
        return "–"
    text = interval(one.value, finding.unit)
    return f"{text}, p {p_value(one.p_holm)}" if corrected and one.p_holm is not None else text


def _sizes(found: Iterable[OfSize]) -> dict[int, int]:
    """Models of every size, by rising size."""
    counts: dict[int, int] = {}
    for one in found:
        counts[one.parameters] = max(one.models, counts.get(one.parameters, 0))
    return dict(sorted(counts.items()))


def _signed(size: int, found: Iterable[OfSize], finding: Finding) -> str:
    """The sign of a number at one size, and the number."""
    one = next((one for one in found if one.parameters == size), None)
    return "–" if one is None else f"{one.sign} ({number(one.value.value, finding.unit)})"
