"""A diagnosis on one screen and on one self-contained page."""

from __future__ import annotations

from pathlib import Path

import altair as alt
from rich.console import Console
from rich.markup import escape

from tapioca.records import DiagnoseInfo, signed
from tapioca.records.diagnosis import UNTOLD, Accuracy, Diagnosis, Expected, Judged
from tapioca.report import figures
from tapioca.report.geometry import Block
from tapioca.report.profile import block_table
from tapioca.report.screen import show_data
from tapioca.report.template import rendered, write_report

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
COLOURS: dict[Diagnosis, str] = {"in distribution": "green", "distorted": "yellow", "misaligned": "red", UNTOLD: "blue"}
RULE = "a changed labelling rule leaves inputs as they are, and no unlabelled input could show it"
ADVICE: dict[Diagnosis, str] = {
    "in distribution": f"to this model these inputs look like ID inputs, so do not expect pruning to help; but {RULE}",
    "distorted": "the states deviate as they do on shifts where a searched plan gained; a search is worth its cost, and "
    "its held-out gain decides",
    "misaligned": "the states deviate as they do on shifts where no plan gained; do not expect pruning to help",
    UNTOLD: "label some of these inputs and let `tapioca prune` search on them; its held-out gain decides",
}


def write_diagnose_page(info: DiagnoseInfo) -> Path:
    """Write `report.html` into the folder of a diagnosis and return its path."""
    return write_report(info.folder, render(info))


def draw_charts(info: DiagnoseInfo) -> dict[str, alt.TopLevelMixin]:
    """The charts of the page by name."""
    return {"profiles": figures.profiles(info.profiles)}


def render(info: DiagnoseInfo) -> str:
    """The page as text."""
    return rendered(
        "diagnose.html.j2",
        info,
        draw_charts(info),
        reading=reading(info),
        blocks={
            "evidence": evidence_of(info, explained=True),
            "expect": expect_of(info),
            "confusion": confusion_of(info.judge.judged),
        },
        judged=judged_of(info.judge.judged),
    )


def show_diagnosis(info: DiagnoseInfo, console: Console) -> None:
    """Print a diagnosis: the verdict, the evidence, and how well the judge does."""
    show_data(info.task, info.reference, console)
    verdict = info.said.verdict
    console.print(f"[bold {COLOURS[verdict]}]{verdict.upper()}", highlight=False)
    for line in reading(info):
        console.print(f"· {escape(line)}.", highlight=False, soft_wrap=True)
    block = evidence_of(info)
    console.print(f"\n[bold]{escape(block.title)}", highlight=False, soft_wrap=True)
    console.print(block_table(block), highlight=False)
    console.print()
    for line in (*LEGEND, *judged_of(info.judge.judged)):
        console.print(f"· {escape(line)}.", style="dim", highlight=False, soft_wrap=True)
    console.print(f"report    {info.folder / 'report.html'}", highlight=False, soft_wrap=True)


def reading(info: DiagnoseInfo) -> list[str]:
    """The verdict in words: why, what it means, and what pruning came to elsewhere."""
    found = [one for one in info.judge.expect if one.verdict == info.said.verdict]
    lines = [info.said.reason, ADVICE[info.said.verdict]]
    called = "could not tell" if info.said.verdict == UNTOLD else f"called {info.said.verdict}"
    lines += [
        f"of {one.cases} cases of kinds of shift that the judge had not seen and {called}, {one.gained:.0%} gained "
        f"from a searched plan (held-out lower 95 % bound above 0); median {_gained(one, 1)}"
        for one in found
    ]
    return lines if found else [*lines, f"the judge has no case that it {called} on which a plan was searched"]


def evidence_of(info: DiagnoseInfo, explained: bool = False) -> Block:
    """Every number beside what ID halves give, and what it adds to the verdict."""
    rows = tuple(
        (
            one.name,
            signed(one.value, 3),
            f"{signed(one.halves[0], 3)} to {signed(one.halves[1], 3)}",
            "–" if one.pull is None else signed(one.pull, 2),
            *([MEANINGS[one.name]] if explained else []),
        )
        for one in info.evidence
    )
    head = ("evidence", "OOD", "ID halves", "pull", *(["what it is"] if explained else []))
    return Block(f"evidence, beside the range of {info.halves} random halves of the ID samples", head, rows)


def expect_of(info: DiagnoseInfo) -> Block:
    """What pruning came to by verdict."""
    rows = tuple(
        (one.verdict, str(one.cases), f"{one.gained:.0%}", *(_gained(one, at) for at in range(3)))
        for one in info.judge.expect
    )
    head = ("said", "cases", "with a gain", "lower quartile", "median", "upper quartile")
    return Block("held-out gain of the searched plan, on kinds of shift left out of the fitting", head, rows)


def confusion_of(judged: Judged) -> Block:
    """By truth, how often what was said."""
    said = sorted({verdict for row in judged.confusion.values() for verdict in row})
    rows = tuple((truth, *(str(row.get(one, 0)) for one in said)) for truth, row in judged.confusion.items())
    return Block("cases by truth, and what was said of them", ("truth", *said), rows)


def judged_of(judged: Judged) -> list[str]:
    """How well the judge does on kinds of shift that it was not fitted on."""
    cases = sum(judged.forced.cases.values())
    lines = [
        f"judged on one kind of shift after the other, fitted on the rest ({len(judged.kinds)} kinds, "
        f"{len(judged.models)} models, {cases} decided cases; {judged.undecided} that labels leave undecided are not counted)",
        f"made to choose: {_accuracy(judged.forced)}",
        f"distorted against misaligned alone: {_accuracy(judged.beyond)}",
    ]
    if judged.coverage is not None:
        lines.append(f"it tells {judged.coverage:.0%} of the cases; of these: {_accuracy(judged.answered)}")
    return [*lines, *judged.notes]


def _accuracy(found: Accuracy) -> str:
    if found.balanced is None or found.chance is None:
        return "no cases"
    interval = f" [{found.ci95[0]:.2f}, {found.ci95[1]:.2f}]" if found.ci95 else ""
    of = ", ".join(f"{count} {truth}" for truth, count in found.cases.items())
    return (
        f"balanced accuracy {found.balanced:.2f}{interval} over {of}; always the commonest answer {found.chance:.2f} "
        f"(plain accuracy {found.plain:.2f}, commonest {found.commonest:.2f})"
    )


def _gained(one: Expected, quartile: int) -> str:
    """A gain in its own units."""
    gain = one.quartiles[quartile]
    return f"{signed(100 * gain, 1)} points" if one.metric == "accuracy" else f"error × {1 - gain:.3f}"
