"""A diagnosis on one screen and on one self-contained page."""

from collections.abc import Callable
from pathlib import Path

import altair as alt
from rich.console import Console

from tapioca.commands.diagnose.result import DiagnoseResult, Evidence
from tapioca.diagnosis.records import CANNOT_TELL, Accuracy, CrossValidation, DiagnosisLabel, Expected
from tapioca.records import Metric, signed, with_interval
from tapioca.report import figures
from tapioca.report.screen import show_data, show_page
from tapioca.report.tables import TableBlock, make_table, print_block, print_line
from tapioca.report.template import write_record_page

MEANINGS = {
    "norm_excess": "norm deviation over its null, log10; above 0 it is above",
    "distance_excess": "the same of pairwise distances",
    "norm_shift": "log ratio of norms, OOD to ID, mean over layers",
    "distance_shift": "the same of pairwise distances",
    "norm_slope": "growth of that log ratio from the first layer to the last",
    "distance_slope": "the same of pairwise distances",
    "norm_before": "share of the norm deviation that comes in before the first layer",
    "distance_before": "the same of pairwise distances",
    "spread_shift": "log ratio of cosine spread, mean over layers",
    "rank_shift": "log ratio of effective rank, mean over layers",
    "dimension_shift": "log ratio of intrinsic dimension, mean over layers",
    "alignment_shift": "covariance alignment with ID, less that of ID data, mean over layers",
    "alignment_last": "the same after the last layer",
}
LEGEND = (
    "ID halves: what no shift looks like; a number outside its range is a sign of a shift, and none is good or bad by itself",
    "pull: what it adds to the log-odds, above 0 for distorted (some plan gained), below 0 for misaligned (none did)",
)
COLOURS: dict[DiagnosisLabel, str] = {"in distribution": "green", "distorted": "yellow", "misaligned": "red"}
COLOURS[CANNOT_TELL] = "blue"
RULE = "a changed labelling rule leaves inputs as they are, and no unlabelled input could show it"
ADVICE: dict[DiagnosisLabel, str] = {
    "in distribution": f"to this model these inputs look like ID inputs, so do not expect pruning to help; but {RULE}",
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
    for line in (*LEGEND, *explain_cross_validation(info.classifier.cross_validation)):
        print_line(console, f"· {line}.", style="dim")
    show_page(info, console)


def explain_diagnosis(info: DiagnoseResult) -> list[str]:
    """The verdict in words: why, what it means, and what pruning came to elsewhere."""
    expectations = [expected for expected in info.classifier.expect if expected.verdict == info.diagnosis.verdict]
    lines = [info.diagnosis.reason, ADVICE[info.diagnosis.verdict]]
    called = "could not tell" if info.diagnosis.verdict == CANNOT_TELL else f"called {info.diagnosis.verdict}"
    lines += [
        f"of {expected.cases} cases of kinds of shift that the classifier had not seen and {called}, {expected.gained:.0%} gained "
        f"from a searched plan (held-out lower 95 % bound above 0); median {_format_quartile(expected, 1)}"
        for expected in expectations
    ]
    if not expectations:
        lines.append(f"the classifier has no case that it {called} on which a plan was searched")
    return lines


def tabulate_evidence(info: DiagnoseResult, explained: bool = False) -> TableBlock:
    """Every number beside what ID halves give, and what it adds to the verdict."""
    columns: dict[str, Callable[[Evidence], str]] = {
        "evidence": lambda evidence: evidence.name,
        "OOD": lambda evidence: signed(evidence.value, 3),
        "ID halves": lambda evidence: " to ".join(signed(end, 3) for end in evidence.id_range),
        "contribution": lambda evidence: "–" if evidence.contribution is None else signed(evidence.contribution, 2),
    }
    if explained:
        columns["what it is"] = lambda evidence: MEANINGS[evidence.name]
    title = f"evidence, beside the range of {info.n_halves} random halves of the ID samples"
    return make_table(title, info.evidence, columns)


def tabulate_expected_gains(info: DiagnoseResult) -> TableBlock:
    """What pruning came to by verdict."""
    rows = tuple(
        (
            expected.verdict,
            str(expected.cases),
            f"{expected.gained:.0%}",
            *(_format_quartile(expected, quartile) for quartile in range(3)),
        )
        for expected in info.classifier.expect
    )
    head = ("verdict", "cases", "with a gain", "lower quartile", "median", "upper quartile")
    return TableBlock("held-out gain of the searched plan, on kinds of shift left out of the fitting", head, rows)


def tabulate_verdict_confusion(judged: CrossValidation) -> TableBlock:
    """By truth, how often what was said."""
    verdicts = sorted({verdict for row in judged.confusion.values() for verdict in row})
    rows = tuple((truth, *(str(row.get(column, 0)) for column in verdicts)) for truth, row in judged.confusion.items())
    return TableBlock("cases by truth, and what was said of them", ("truth", *verdicts), rows)


def explain_cross_validation(judged: CrossValidation) -> list[str]:
    """How well the classifier does on kinds of shift that it was not fitted on."""
    cases = sum(judged.forced.cases.values())
    lines = [
        f"judged on one kind of shift after the other, fitted on the rest ({len(judged.kinds)} kinds, "
        f"{len(judged.models)} models, {cases} decided cases; {judged.undecided} that labels leave undecided are not counted)",
        f"made to choose: {_format_accuracy(judged.forced)}",
        f"distorted against misaligned alone: {_format_accuracy(judged.beyond)}",
    ]
    if judged.coverage is not None:
        lines.append(f"it tells {judged.coverage:.0%} of the cases; of these: {_format_accuracy(judged.answered)}")
    return [*lines, *judged.notes]


def _format_accuracy(accuracy: Accuracy) -> str:
    if accuracy.balanced is None or accuracy.chance is None:
        return "no cases"
    case_counts = ", ".join(f"{count} {truth}" for truth, count in accuracy.cases.items())
    return (
        f"balanced accuracy {with_interval(accuracy.balanced, accuracy.ci95, '.2f')} over {case_counts}; always the commonest answer {accuracy.chance:.2f} "
        f"(plain accuracy {accuracy.plain:.2f}, commonest {accuracy.commonest:.2f})"
    )


def _format_quartile(expected: Expected, quartile: int) -> str:
    """A gain in its own units."""
    return Metric(name=expected.metric, kind=expected.metric).format_effect(expected.quartiles[quartile], named=True)
