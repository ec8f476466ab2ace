"""What a study found, in words and numbers: the same on the screen and on the page."""

from __future__ import annotations

from collections import Counter
from math import exp

from tapioca.records import Estimate, Judged
from tapioca.studies.measures import Unit
from tapioca.studies.parts import TRUTHS, Pooled
from tapioca.studies.results import ClaimFound, Finding, SettingFound, StudyInfo
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim

SYMBOLS: dict[Decision, str] = {"supported": "✓", "not supported": "✗", "inconclusive": "?"}
FAMILIES: dict[str, tuple[Claim, ...]] = {
    "What dropping layers brings": ("C1", "C2"),
    "What shifts do to the geometry": ("C3", "C4"),
    "Realignment, and the layers chosen": ("C5", "C6"),
    "Cause": ("C7", "C8"),
    "Model size": ("C9",),
}
"""The claims in five lines."""
UNITS: dict[Unit, str] = {
    "log ratio of errors": "ln(error of the full model / error of the plan), above 0 is better, error ratio exp(−log ratio)",
    "mean |log ratio|": "mean over layers of |log ratio to the ID profile|",
    "rank correlation": "Spearman's rank correlation, from −1 to 1",
    "share": "share, in %",
    "accuracy": "accuracy, in %",
    "log ratio per e-fold of size": "log ratio per e-fold of the number of parameters",
}

ROUNDING = 1e-9
"""A mean nearer to 0 is 0."""


def verdict(decision: Decision) -> str:
    """A decision with its symbol, which says the same without colour."""
    return f"{SYMBOLS[decision]} {decision}"


def kind_name(kind: str, control: bool = False) -> str:
    """A kind of shift as people write it."""
    return kind.replace("_", " ") + (" (control)" if control else "")


def number(value: float, unit: Unit) -> str:
    """A number in its unit: '+0.213', '−0.41', '52.0 %'."""
    if unit in ("share", "accuracy"):
        return f"{100 * value:.1f} %".replace("-", "−")
    if abs(value) < ROUNDING:
        value = 0.0
    digits = 2 if unit == "rank correlation" else 3
    text = f"{value:+.{digits}f}"
    return (text if float(text) or not value else f"{value:+.1g}").replace("-", "−")


def interval(found: Pooled | Estimate, unit: Unit) -> str:
    """A number with its 95 % interval: '+0.213 [+0.100, +0.310]'."""
    low, high = (number(end, unit) for end in found.ci95)
    return f"{number(found.value, unit)} [{low}, {high}]"


def effect(finding: Finding | None) -> str:
    """The pooled number of a finding with its interval; log ratios also as a ratio of errors."""
    if finding is None or finding.pooled is None:
        return "not measured"
    return interval(finding.pooled, finding.unit) + _as_error(finding)


def _as_error(finding: Finding) -> str:
    """What a pooled log ratio is as a ratio of errors, below 1 where the plan is better: ', error ratio 0.81'; else empty."""
    if finding.pooled is None or finding.unit != "log ratio of errors":
        return ""
    return f", error ratio {exp(-finding.pooled.value):#.3g}"


def main_finding(found: ClaimFound) -> Finding | None:
    """The number a verdict is told by: the first of those that told it, or else that the rule is about."""
    measured = [one for one in found.findings if one.pooled is not None]
    deciding = [one for one in measured if one.decides] or measured
    telling = [one for one in deciding if one.name in found.told_by]
    return next(iter(telling or deciding), None)


def told(found: ClaimFound) -> str:
    """The number a verdict is told by, named: 'gain of greedy's plan +0.213 [+0.100, +0.310], 12 models'."""
    finding = main_finding(found)
    if finding is None or finding.pooled is None:
        return "not measured"
    return f"{finding.name} {effect(finding)}, {models(finding.pooled.models)}"


def cell_lines(finding: Finding | None) -> tuple[str, ...]:
    """The pooled number of a finding and its interval, as two lines of a narrow cell; a dash where nothing was measured."""
    if finding is None or finding.pooled is None:
        return ("–",)
    value, bounds = interval(finding.pooled, finding.unit).split(" [", 1)
    return value, f"[{bounds}"


def common_measures(info: StudyInfo) -> dict[Claim, str]:
    """By claim, the name of the number that tells its verdict in most of the settings; empty where none does."""
    names: dict[Claim, Counter[str]] = {claim: Counter() for claim in info.rules}
    for setting in info.settings:
        for claim_found in setting.claims:
            if finding := main_finding(claim_found):
                names[claim_found.claim][finding.name] += 1
    return {claim: count.most_common(1)[0][0] if count else "" for claim, count in names.items()}


def models(count: int) -> str:
    """How many models."""
    return f"{count} model{'' if count == 1 else 's'}"


def family_lines(info: StudyInfo) -> list[tuple[str, str]]:
    """Five lines, each with its heading: how every claim was decided where, with its number. Settings in which nothing
    can be decided are left out."""
    return [
        (f"{heading} ({', '.join(names)})", " ".join(_decided(info, name) for name in names if name in info.rules))
        for heading, names in FAMILIES.items()
        if any(name in info.rules for name in names)
    ]


def _decided(info: StudyInfo, claim: Claim) -> str:
    """One claim over all settings: 'C2 is supported in polynomials (…). It is inconclusive in polarity (…).'"""
    judged = [setting for setting in info.settings if not setting.unjudged]
    asked = [(setting.name, found) for setting in judged for found in setting.claims if found.claim == claim]
    parts = []
    for decision in SYMBOLS:
        where = [f"{name} ({told(found)})" for name, found in asked if found.decision == decision]
        parts += [f"{decision} in {'; '.join(where)}"] if where else []
    return f"{claim} is {'. It is '.join(parts)}." if parts else f"{claim} can be decided in no setting."


def study_lines(info: StudyInfo) -> list[str]:
    """The whole study in plain text: one line for each setting, and below it one for each claim."""
    lines = []
    for setting in info.settings:
        lines.append(f"{setting.name}: {cells(setting)}" + (f"; {setting.unjudged}" if setting.unjudged else ""))
        lines += [f"  {found.claim}  {verdict(found.decision):<15}  {told(found)}" for found in setting.claims]
    return lines


def cells(setting: SettingFound) -> str:
    """How much of a setting was measured."""
    text = f"{setting.measured} cell{'' if setting.measured == 1 else 's'} measured"
    return f"{text}, {setting.missing} missing" if setting.missing else text


def units(found: ClaimFound) -> str:
    """What the numbers of a claim are counted in, unit by unit."""
    named: dict[Unit, list[str]] = {}
    for finding in found.findings:
        named.setdefault(finding.unit, []).append(finding.name)
    if len(named) == 1:
        return f"all numbers: {UNITS[found.findings[0].unit]}"
    return "; ".join(f"{', '.join(names)}: {UNITS[unit]}" for unit, names in named.items())


def per_size(found: ClaimFound) -> str:
    """Why sizes are not judged alone."""
    counts = {one.models for finding in found.findings for one in finding.sizes}
    low, high = min(counts), max(counts)
    return f"each has {models(low)}" if low == high else f"they have {low} to {models(high)} each"


def kinds_line(setting: SettingFound) -> str:
    """Q1 in one sentence: how many kinds gain, lose and deviate."""
    shown = [one for one in setting.summaries if not one.control and one.log_ratio and one.norm and one.distance]
    if not shown:
        return "No kind of shift was measured."
    gains = [kind_name(one.kind) for one in shown if one.log_ratio and one.log_ratio.ci95[0] > 0]
    losses = [kind_name(one.kind) for one in shown if one.log_ratio and one.log_ratio.ci95[1] < 0]
    norm, distance = (
        sum(found is not None and found.ci95[0] > 0 for found in column)
        for column in ([one.norm for one in shown], [one.distance for one in shown])
    )
    return (
        f"Of {_of_kinds(len(shown))}, controls left out, the interval of the log ratio lies above 0 for {_listed(gains)}, below 0 for "
        f"{_listed(losses)}; the norm deviation lies above its null for {norm}, the distance deviation for {distance}. "
        "These intervals are not corrected for the number of kinds; the verdicts under C2 to C4 are."
    )


def cost_line(setting: SettingFound) -> str:
    """Q2 in one sentence."""
    found = {one.search: one for one in setting.computed}
    if "greedy" not in found:
        return "What searches compute was not measured."
    greedy = found["greedy"]
    text = f"Greedy search tries {greedy.plans:.1f} plans, {greedy.tree:.1f} layers for one prompt where plans share what they can"
    if every := found.get("all plans"):
        text += f"; all plans are {every.plans:.1f}, in {every.tree:.1f} layers"
    enough = [one for one in setting.labels if one.log_ratio.ci95[0] > 0]
    few = (
        f"{enough[0].prompts} labelled prompts are the fewest tried"
        if enough
        else "no number of labelled prompts tried is one"
    )
    return (
        f"{text}. {few[:1].upper()}{few[1:]} whose log ratio has an interval above 0." if setting.labels else f"{text}."
    )


def truths_line(setting: SettingFound) -> str:
    """Q3 in one sentence: what all cells but controls are."""
    counts = {truth: sum(one.truths.get(truth, 0) for one in setting.summaries if not one.control) for truth in TRUTHS}
    total = sum(counts.values())
    if not total:
        return "No cell was classed."
    return f"Of {total} cells, controls left out, " + ", ".join(f"{n} are {truth}" for truth, n in counts.items()) + "."


def judged_line(judged: Judged) -> str:
    """How well a judge without labels does on kinds it was not fitted on, in one sentence."""
    forced = judged.forced
    if forced.balanced is None or forced.chance is None:
        return "The judge without labels could not be judged: no cell is decided by labels."
    interval = f" [{100 * forced.ci95[0]:.1f} %, {100 * forced.ci95[1]:.1f} %]" if forced.ci95 else ""
    return (
        f"A judge that sees no labels, on kinds of shift it was not fitted on: balanced accuracy {100 * forced.balanced:.1f} %"
        f"{interval}; always giving the commonest answer has {100 * forced.chance:.1f} %. Cells that labels leave undecided: "
        f"{judged.undecided}."
    )


def _of_kinds(count: int) -> str:
    return f"{count} kind{'' if count == 1 else 's'} of shift"


def _listed(names: list[str]) -> str:
    """'3 (a, b, c)', or 'none'."""
    return f"{len(names)} ({', '.join(names)})" if names else "none"
