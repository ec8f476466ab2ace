"""What a study's page says first: what was studied, and what was found, in sentences made of the record."""

from tapioca.studies.page.text import (
    DECISION_SYMBOLS,
    count_in_words,
    find_claim,
    join_words,
    tell_claim,
)
from tapioca.studies.results import SettingResult, StudyResult
from tapioca.studies.rules import Decision
from tapioca.studies.spec import Claim

DECISION_CLASSES: dict[Decision, str] = {"supported": "yes", "not supported": "no", "inconclusive": "open"}
"""What colours a verdict, beside its symbol and word."""
DECISION_VERBS: dict[Decision, str] = {
    "supported": "support",
    "not supported": "speak against",
    "inconclusive": "leave open",
}


def select_main_setting(info: StudyResult) -> SettingResult:
    """The setting of most models among those in which claims can be decided, or among all where there is none; it is shown first."""
    return max(info.settings, key=lambda setting: (not setting.unjudged, len(setting.models)))


def describe_study(info: StudyResult) -> str:
    """What was studied, in a sentence."""
    missing = f" ({info.missing} more are missing)" if info.missing else ""
    when = "before the first result" + (", but for the changes listed below" if info.amended else "")
    return (
        f"{count_in_words(len(info.rules), 'claim')} about what dropping layers does to models whose data have shifted, each "
        f"judged by a rule written down {when}: {info.measured} cells, a model on a task each, were measured{missing} in "
        f"{count_in_words(len(info.settings), 'setting')}."
    )


def write_findings(info: StudyResult) -> list[str]:
    """Three sentences: what the rules come to in the main setting, the size of the effect there, and the other settings."""
    main = select_main_setting(info)
    effect = "C2" if find_claim(main, "C2") else main.claims[0].claim
    told = tell_claim(effect, "", info, main)
    return [_count_decisions(main), f"There, {told}", _tell_others(info, main)]


def describe_elsewhere(info: StudyResult, name: Claim) -> str:
    """How a claim was decided in all settings but the main one: 'not supported in words; inconclusive in polarity'."""
    main = select_main_setting(info)
    others = [setting for setting in info.settings if setting is not main and not setting.unjudged]
    named = {
        decision: [one.name for one in others if (claim := find_claim(one, name)) and claim.decision == decision]
        for decision in DECISION_SYMBOLS
    }
    return "; ".join(f"{decision} in {', '.join(names)}" for decision, names in named.items() if names)


def _count_decisions(main: SettingResult) -> str:
    parts = []
    for decision, verb in DECISION_VERBS.items():
        names = [claim.claim for claim in main.claims if claim.decision == decision]
        if names:
            parts.append(f"{verb} {len(names)} ({', '.join(names)})")
    of_models = count_in_words(len(main.models), "model")
    return f"In {main.name} ({of_models}) the rules {join_words(parts)} of {count_in_words(len(main.claims), 'claim')}."


def _tell_others(info: StudyResult, main: SettingResult) -> str:
    others = [setting for setting in info.settings if setting is not main]
    if not others:
        return "There is no other setting."
    sentences = []
    for setting in (one for one in others if not one.unjudged):
        decided = [f"{claim.claim} ({claim.decision})" for claim in setting.claims if claim.decision != "inconclusive"]
        sentences.append(f"{setting.name} decides {join_words(decided) if decided else 'no claim'}")
    silent = [setting.name for setting in others if setting.unjudged]
    if silent:
        sentences.append(f"in {join_words(silent)} none can be decided")
    return f"Elsewhere, {'; '.join(sentences)}."
