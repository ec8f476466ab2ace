"""What a study found, in words and numbers: the same on the screen and on the page."""

from math import exp

from tapioca.records import Estimate
from tapioca.studies.label_parts import LabelCurve
from tapioca.studies.measures import LOG_RATIO, Unit
from tapioca.studies.parts import TRUTHS, Pooled
from tapioca.studies.results import ClaimResult, Finding, SettingResult, StudyResult
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim

DECISION_SYMBOLS: dict[Decision, str] = {"supported": "✓", "not supported": "✗", "inconclusive": "?"}
CLAIM_FAMILIES: dict[str, tuple[Claim, ...]] = {
    "What dropping layers brings": ("C1", "C2"),
    "What shifts do to the geometry": ("C3", "C4"),
    "Realignment, and the layers chosen": ("C5", "C6"),
    "Cause": ("C7", "C8"),
    "Model size": ("C9",),
}
"""The claims of the papers, by what they are about."""
UNIT_MEANINGS: dict[Unit, str] = {
    "log ratio of errors": "ln(error of the full model / error of the plan), above 0 is better, error ratio exp(−log ratio)",
    "mean |log ratio|": "mean over layers of |log ratio to the ID profile|",
    "rank correlation": "Spearman's rank correlation, from −1 to 1",
    "share": "share, in %",
    "accuracy": "accuracy, in %",
    "log ratio per e-fold of size": "log ratio per e-fold of the number of parameters",
}

ZERO_TOLERANCE = 1e-9
"""A mean nearer to 0 is 0."""


def format_decision(decision: Decision) -> str:
    """A decision with its symbol, which says the same without colour."""
    return f"{DECISION_SYMBOLS[decision]} {decision}"


def kind_name(kind: str, control: bool = False) -> str:
    """A kind of shift as people write it."""
    return kind.replace("_", " ") + (" (control)" if control else "")


def format_number_in_unit(value: float, unit: Unit) -> str:
    """A number in its unit: '+0.213', '−0.41', '52.0 %'."""
    if unit in ("share", "accuracy"):
        return f"{100 * value:.1f} %".replace("-", "−")
    if abs(value) < ZERO_TOLERANCE:
        value = 0.0
    digits = 2 if unit == "rank correlation" else 3
    text = f"{value:+.{digits}f}"
    return (text if float(text) or not value else f"{value:+.1g}").replace("-", "−")


def format_interval_in_unit(estimate: Pooled | Estimate, unit: Unit) -> str:
    """A number with its 95 % interval: '+0.213 [+0.100, +0.310]'."""
    low, high = (format_number_in_unit(end, unit) for end in estimate.ci95)
    return f"{format_number_in_unit(estimate.value, unit)} [{low}, {high}]"


def format_pooled_effect(finding: Finding | None) -> str:
    """The pooled number of a finding with its interval; log ratios also as a ratio of errors."""
    if finding is None or finding.pooled is None:
        return "not measured"
    ratio = f", error ratio {exp(-finding.pooled.value):#.3g}" if finding.unit == LOG_RATIO else ""
    return format_interval_in_unit(finding.pooled, finding.unit) + ratio


def select_main_finding(claim: ClaimResult) -> Finding | None:
    """The number a verdict is told by: the first of those that told it, or else that the rule is about."""
    measured_findings = [finding for finding in claim.findings if finding.pooled is not None]
    deciding_findings = [finding for finding in measured_findings if finding.decides] or measured_findings
    telling_findings = [finding for finding in deciding_findings if finding.name in claim.told_by]
    return next(iter(telling_findings or deciding_findings), None)


def describe_main_finding(claim: ClaimResult) -> str:
    """The number a verdict is told by, named: 'gain of greedy's plan +0.213 [+0.100, +0.310], 12 models'."""
    finding = select_main_finding(claim)
    if finding is None or finding.pooled is None:
        return "not measured"
    return f"{finding.name} {format_pooled_effect(finding)}, {count_in_words(finding.pooled.models, 'model')}"


def cell_lines(finding: Finding | None) -> tuple[str, ...]:
    """The pooled number of a finding and its interval, as two lines of a narrow cell; a dash where nothing was measured."""
    if finding is None or finding.pooled is None:
        return ("–",)
    value, bounds = format_interval_in_unit(finding.pooled, finding.unit).split(" [", 1)
    return value, f"[{bounds}"


def count_in_words(count: int, noun: str) -> str:
    """How many of something: '1 model', '3 models'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def write_family_lines(info: StudyResult) -> list[tuple[str, str]]:
    """A line for each family, with its heading: how every claim was decided where, with its number; claims of no family
    have one of their own. Settings in which nothing can be decided are left out."""
    in_families = {name for names in CLAIM_FAMILIES.values() for name in names}
    others = {"Other claims": tuple(name for name in info.rules if name not in in_families)}
    return [
        (
            f"{heading} ({', '.join(names)})",
            " ".join(_summarise_decisions(info, name) for name in names if name in info.rules),
        )
        for heading, names in {**CLAIM_FAMILIES, **others}.items()
        if any(name in info.rules for name in names)
    ]


def _summarise_decisions(info: StudyResult, claim_name: Claim) -> str:
    """One claim over all settings: 'C2 is supported in polynomials (…). It is inconclusive in polarity (…).'"""
    judged_settings = [setting for setting in info.settings if not setting.unjudged]
    named_claims = [
        (setting.name, claim) for setting in judged_settings for claim in setting.claims if claim.claim == claim_name
    ]
    decision_texts = []
    for decision in DECISION_SYMBOLS:
        texts = [
            f"{name} ({describe_main_finding(claim)})" for name, claim in named_claims if claim.decision == decision
        ]
        decision_texts += [f"{decision} in {'; '.join(texts)}"] if texts else []
    return (
        f"{claim_name} is {'. It is '.join(decision_texts)}."
        if decision_texts
        else f"{claim_name} can be decided in no setting."
    )


def write_study_lines(info: StudyResult) -> list[str]:
    """The whole study in plain text: one line for each setting, and below it one for each claim."""
    lines = []
    for setting in info.settings:
        lines.append(
            f"{setting.name}: {count_cells_in_words(setting)}" + (f"; {setting.unjudged}" if setting.unjudged else "")
        )
        lines += [
            f"  {claim.claim}  {format_decision(claim.decision):<15}  {describe_main_finding(claim)}"
            for claim in setting.claims
        ]
    return lines


def count_cells_in_words(setting: SettingResult) -> str:
    """How much of a setting was measured."""
    text = f"{count_in_words(setting.measured, 'cell')} measured"
    return f"{text}, {setting.missing} missing" if setting.missing else text


def describe_units(claim: ClaimResult) -> str:
    """What the numbers of a claim are counted in, unit by unit."""
    names_by_unit: dict[Unit, list[str]] = {}
    for finding in claim.findings:
        names_by_unit.setdefault(finding.unit, []).append(finding.name)
    if len(names_by_unit) == 1:
        return f"all numbers: {UNIT_MEANINGS[claim.findings[0].unit]}"
    return "; ".join(f"{', '.join(names)}: {UNIT_MEANINGS[unit]}" for unit, names in names_by_unit.items())


def describe_models_per_size(claim: ClaimResult) -> str:
    """Why sizes are not judged alone."""
    counts = {of_size.models for finding in claim.findings for of_size in finding.sizes}
    low, high = min(counts), max(counts)
    models = count_in_words(high, "model")
    return f"each has {models}" if low == high else f"they have {low} to {models} each"


def describe_kinds(setting: SettingResult) -> str:
    """Q1 in words: how many kinds gain, lose and deviate, and what is corrected."""
    corrected = "These intervals are not corrected for the number of kinds; the verdicts under C2 to C4 are."
    return f"{count_kinds(setting)} {corrected}" if setting.summaries else count_kinds(setting)


def count_kinds(setting: SettingResult) -> str:
    """How many kinds gain, lose and deviate, in one sentence."""
    rows = [
        (kind_name(summary.kind), summary.log_ratio.ci95, summary.norm.ci95, summary.distance.ci95)
        for summary in setting.summaries
        if not summary.control and summary.log_ratio and summary.norm and summary.distance
    ]
    if not rows:
        return "No kind of shift was measured."
    gaining = [name for name, (low, _), _, _ in rows if low > 0]
    losing = [name for name, (_, high), _, _ in rows if high < 0]
    n_norm = sum(low > 0 for _, _, (low, _), _ in rows)
    n_distance = sum(low > 0 for _, _, _, (low, _) in rows)
    return (
        f"Of {count_in_words(len(rows), 'kind')} of shift, controls left out, the interval of the log ratio lies above 0 "
        f"for {_list_names(gaining)}, below 0 for {_list_names(losing)}; the norm deviation lies above its null for "
        f"{n_norm}, the distance deviation for {n_distance}."
    )


def describe_search_cost(setting: SettingResult) -> str:
    """Q2 in one sentence."""
    cost_by_search = {cost.search: cost for cost in setting.computed}
    if "greedy" not in cost_by_search:
        return "What searches compute was not measured."
    greedy, all_plans = cost_by_search["greedy"], cost_by_search.get("all plans")
    text = f"Greedy search tries {greedy.plans:.1f} plans, {greedy.tree:.1f} layers for one prompt where plans share what they can"
    if all_plans:
        text += f"; all plans are {all_plans.plans:.1f}, in {all_plans.tree:.1f} layers"
    return f"{text}. {describe_labels(setting)}" if setting.labels else f"{text}."


def describe_labels(setting: SettingResult) -> str:
    """How few labelled prompts bring a gain, in one sentence."""
    enough = next((labelled for labelled in setting.labels if labelled.log_ratio.ci95[0] > 0), None)
    if enough is None:
        text = "No number of labelled prompts tried is one whose log ratio has an interval above 0."
    else:
        gain = format_interval_in_unit(enough.log_ratio, LOG_RATIO)
        text = (
            f"{enough.prompts} labelled prompts are the fewest tried whose log ratio has an interval above 0 ({gain})."
        )
    return f"{text} {describe_criteria(setting.label_curve)}" if setting.label_curve else text


def describe_criteria(curve: LabelCurve) -> str:
    """What criteria without labels bring, in one sentence."""
    helping = [criterion for criterion in curve.criteria if criterion.log_ratio.ci95[0] > 0]
    if not helping:
        return f"Of {len(curve.criteria)} criteria that read no OOD answer, none brings a log ratio whose interval lies above 0."
    best = max(helping, key=lambda criterion: criterion.log_ratio.value)
    worth = "more than all of them" if best.labels_worth is None else f"about {best.labels_worth:.0f} labels"
    return (
        f"Of {len(curve.criteria)} criteria that read no OOD answer {len(helping)} bring a log ratio whose interval lies above 0; "
        f"the most, {format_interval_in_unit(best.log_ratio, LOG_RATIO)}, brings {best.name}, worth {worth}."
    )


def describe_truths(setting: SettingResult) -> str:
    """Q3 in one sentence: what all cells but controls are."""
    summaries = [summary for summary in setting.summaries if not summary.control]
    counts = {truth: sum(summary.truths.get(truth, 0) for summary in summaries) for truth in TRUTHS}
    total = sum(counts.values())
    if not total:
        return "No cell was classed."
    return f"Of {total} cells, controls left out, " + ", ".join(f"{n} are {truth}" for truth, n in counts.items()) + "."


def find_claim(setting: SettingResult, name: Claim) -> ClaimResult | None:
    """A claim in a setting; None where it was not asked."""
    return next((claim for claim in setting.claims if claim.claim == name), None)


def tell_claim(name: Claim, drawn: str, info: StudyResult, setting: SettingResult) -> str:
    """A claim, its verdict in a setting, the number it is told by and one that a figure draws, in one sentence.

    Args:
        name: of the claim.
        drawn: name of the finding that the figure is of; empty for none.
        info: the study.
        setting: where the claim was judged.
    """
    claim = find_claim(setting, name)
    if claim is None:
        return f"{name} was not asked."
    statement = info.rules[name].statement.removesuffix(".")
    told = f"“{statement}” ({name}) is {claim.decision}: {describe_main_finding(claim)}"
    main = select_main_finding(claim)
    beside = [finding for finding in claim.findings if finding.name == drawn and finding.pooled and finding is not main]
    return f"{told}; {drawn} {format_pooled_effect(beside[0])}." if beside else f"{told}."


def join_words(parts: list[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _list_names(names: list[str]) -> str:
    """'3 (a, b, c)', or 'none'."""
    return f"{len(names)} ({', '.join(names)})" if names else "none"
