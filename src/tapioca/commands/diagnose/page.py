"""A diagnosis on one screen and on one self-contained page."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import altair as alt
from rich.console import Console

from tapioca.commands.diagnose.result import DiagnoseResult, Evidence
from tapioca.diagnosis.records import (
    BAR_DECIDED,
    BAR_EXAMPLES,
    BAR_RIGHT,
    CANNOT_TELL,
    NO_SHIFT,
    Band,
    CrossValidation,
    DiagnosisLabel,
    Gains,
    LeftOutScore,
    Unseen,
)
from tapioca.diagnosis.score import find_band
from tapioca.records import Metric, signed, with_interval
from tapioca.report import figures
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, print_block, print_line
from tapioca.report.template import write_record_page

AnyGains = TypeVar("AnyGains", bound=Gains)
PROFILE_WORDS = {"norm": "norms", "distance": "pairwise distances"}
READ_WORDS = {"last": "at the last tokens", "mean": "of token means"}
SUMMARY_WORDS = {
    "input": "before the first layer",
    "shift": "mean over the layers",
    "slope": "growth over the layers",
}
LEGEND = (
    "numbers are log ratios of OOD to ID; ID halves: what no shift looks like; none is good or bad by itself",
    "contribution: what it adds to the log-odds, above 0 for distorted (some plan gained), below 0 for misaligned (none did)",
)
COLOURS: dict[DiagnosisLabel, str] = {NO_SHIFT: "green", "distorted": "yellow", "misaligned": "red"}
COLOURS[CANNOT_TELL] = "blue"
RULE = "a changed labelling rule leaves inputs as they are, and no unlabelled input could show it"
ADVICE: dict[DiagnosisLabel, str] = {
    NO_SHIFT: "to this model these inputs look like ID inputs, as far as so many can show; more inputs may show a shift, "
    f"and {RULE}",
    "distorted": "the states deviate as they do on shifts where a searched plan gained; a search is worth its cost, and "
    "its held-out gain decides",
    "misaligned": "the states deviate as they do on shifts where no plan gained; do not expect pruning to help",
    CANNOT_TELL: "label some of these inputs and let `tapioca prune` search on them; its held-out gain decides",
}


def draw_charts(info: DiagnoseResult) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"profiles": figures.draw_profiles(info.profiles)}


def write_page(info: DiagnoseResult) -> Path:
    """Write `report.html` into the folder of a diagnosis and return its path."""
    return write_record_page(__name__, info)


def show(info: DiagnoseResult, console: Console) -> None:
    """Print a diagnosis: the verdict, the evidence, and how well the classifier does."""
    show_data(info, console)
    verdict = info.diagnosis.verdict
    print_line(console, verdict.upper(), style=f"bold {COLOURS[verdict]}")
    for line in explain_diagnosis(info):
        print_line(console, f"· {line}.")
    console.print()
    print_block(console, tabulate_evidence(info))
    for line in LEGEND:
        print_line(console, f"· {line}.", style="dim")
    console.print()
    print_block(console, tabulate_left_out(info.classifier.cross_validation))
    for line in explain_cross_validation(info.classifier.cross_validation):
        print_line(console, f"· {line}.", style="dim")
    show_page(info, console)


def explain_diagnosis(info: DiagnoseResult) -> list[str]:
    """The verdict in words: why, what it means, and what searches came to on shifts like it."""
    diagnosis = info.diagnosis
    lines = [diagnosis.reason, ADVICE[diagnosis.verdict]]
    if diagnosis.verdict == NO_SHIFT:
        return [*lines, *_describe_unseen(info)]
    if diagnosis.probability is None:
        return lines
    place = find_band(diagnosis.probability)
    band = next((one for one in _of_metric(info, info.classifier.bands) if find_band(one.low) == place), None)
    chance = with_interval(diagnosis.probability, diagnosis.probability_ci95, ".2f")
    lines.append(f"the classifier gives a probability of {chance} that some plan gains rather than none")
    if band is None:
        return [*lines, "it has no case of such a probability, and scored in this way, on which a plan was searched"]
    such = f"shifts of kinds that it was not fitted on and gave a probability of {band.low:g} to {band.high:g}"
    return [*lines, _count_gains(band, such)]


def _describe_unseen(info: DiagnoseResult) -> list[str]:
    """What searches came to where no more examples than these showed a shift."""
    sizes = [unseen for unseen in _of_metric(info, info.classifier.unseen) if unseen.n <= info.n]
    return [_count_gains(sizes[-1], f"samples of {sizes[-1].n} examples in which no deviation showed")] if sizes else []


def _of_metric(info: DiagnoseResult, gains: Iterable[AnyGains]) -> list[AnyGains]:
    """Those in the units of the run's own scores."""
    return [one for one in gains if one.metric == info.metric.kind]


def _count_gains(gains: Gains, such: str) -> str:
    return (
        f"of {gains.cases} {such}, {gains.gained} gained from a searched plan (held-out lower 95 % bound above 0): "
        f"{_format_gained(gains)}; median {_format_quartile(gains, 1)}"
    )


def describe_evidence(name: str) -> str:
    """What a number of the evidence is, in words."""
    read, profile, summary = name.split("_")
    return f"{PROFILE_WORDS[profile]} {READ_WORDS[read]}, {SUMMARY_WORDS[summary]}"


def tabulate_evidence(info: DiagnoseResult, explained: bool = False) -> TableBlock:
    """Every number beside what ID halves give, and what it adds to the log-odds."""
    columns: dict[str, Callable[[Evidence], str]] = {
        "evidence": lambda evidence: evidence.name,
        "OOD": lambda evidence: f"{signed(evidence.value, 3)} ± {evidence.error:.3f}",
        "ID halves": lambda evidence: " to ".join(signed(end, 3) for end in evidence.id_range),
        "contribution": lambda evidence: "–" if evidence.contribution is None else signed(evidence.contribution, 2),
    }
    if explained:
        columns["what it is"] = lambda evidence: describe_evidence(evidence.name)
    title = f"evidence ± standard error, and the range of {info.n_halves} random ID halves"
    return make_table(title, info.evidence, columns)


def tabulate_bands(bands: tuple[Band, ...]) -> TableBlock:
    """What searches came to by probability."""
    columns: dict[str, Callable[[Band], str]] = {
        "probability": lambda band: f"{band.low:g} to {band.high:g}",
        "shifts": lambda band: str(band.cases),
        **GAIN_COLUMNS,
    }
    return make_table("held-out gain of the searched plan, on kinds of shift left out of the fitting", bands, columns)


def tabulate_unseen(unseen: tuple[Unseen, ...]) -> TableBlock:
    """What searches came to where no deviation showed."""
    columns: dict[str, Callable[[Unseen], str]] = {
        "examples": lambda row: str(row.n),
        "samples without a deviation": lambda row: str(row.cases),
        **GAIN_COLUMNS,
    }
    return make_table("held-out gain of the searched plan, where no deviation is above its null", unseen, columns)


def tabulate_left_out(judged: CrossValidation) -> TableBlock:
    """How often verdicts are right, by what was left out of the fitting and by the number of examples."""
    columns: dict[str, Callable[[LeftOutScore], str]] = {
        "left out": lambda row: f"each {row.left_out}",
        "examples": lambda row: str(row.n),
        "cases": lambda row: str(sum(row.cells.values())),
        "decided": lambda row: f"{100 * row.decided:.0f} %",
        "rightly": lambda row: _format_share(row.right, row.right_ci95),
        "made to choose": lambda row: _format_share(row.balanced, row.balanced_ci95),
    }
    return make_table("verdicts on what the classifier was not fitted on", judged.held, columns)


def explain_cross_validation(judged: CrossValidation) -> list[str]:
    """What the table of verdicts is about, and whether the two words may be said."""
    bar = f"{100 * BAR_DECIDED:.0f} % of the cases decided, {100 * BAR_RIGHT:.0f} % of these rightly, at {BAR_EXAMPLES} examples, whatever is left out"
    said = "so the two words are said" if judged.clears_bar else "so distorted and misaligned are not said"
    lines = [
        f"{len(judged.kinds)} kinds of shift, {len(judged.models)} models, {len(judged.settings)} settings; "
        f"{judged.undecided} shifts that labels leave undecided are not judged",
        f"{judged.opposite} of {judged.shifts} shifts were called distorted at one number of examples and misaligned at another"
        if judged.shifts
        else "no shift was judged at two numbers of examples",
        f"the bar: {bar}, and no shift called both: {'cleared' if judged.clears_bar else 'missed'}, {said}",
    ]
    return [*lines, *judged.notes]


def _format_share(share: float | None, interval: tuple[float, float] | None) -> str:
    """A share with its interval in percent; a dash of nothing."""
    if share is None or interval is None:
        return "–"
    return with_interval(100 * share, [100 * end for end in interval], ".0f", " %")


def _format_gained(gains: Gains) -> str:
    return _format_share(gains.gained / gains.cases, gains.gained_ci95)


def _format_quartile(gains: Gains, quartile: int) -> str:
    """A gain in its own units."""
    return Metric(name=gains.metric, kind=gains.metric).format_effect(gains.quartiles[quartile], named=True)


GAIN_COLUMNS: dict[str, Callable[[Gains], str]] = {
    "gained": lambda gains: f"{gains.gained} ({_format_gained(gains)})",
    "lower quartile": lambda gains: _format_quartile(gains, 0),
    "median": lambda gains: _format_quartile(gains, 1),
    "upper quartile": lambda gains: _format_quartile(gains, 2),
}
