"""The page of a study says what the record says, in words, symbols and numbers; what is missing is said, not drawn."""

from __future__ import annotations

import html
import io
import re
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.fake_study import KINDS, bare, setting, study
from support.figures import check_figures

from tapioca.errors import StoreError
from tapioca.records import signed
from tapioca.report.save import save_charts
from tapioca.studies.page.charts import CHARTS
from tapioca.studies.page.layers import _color_bound
from tapioca.studies.page.overview import describe_elsewhere, describe_study, select_main_setting, write_findings
from tapioca.studies.page.page import _draw_shown_charts, render_study_page
from tapioca.studies.page.page import (
    draw_charts as draw_study_charts,
)
from tapioca.studies.page.page import (
    show as show_study,
)
from tapioca.studies.page.page import (
    write_page as write_study_page,
)
from tapioca.studies.page.questions import QUESTIONS
from tapioca.studies.page.scales import count_axis
from tapioca.studies.page.text import (
    describe_units,
    format_number_in_unit,
    select_main_finding,
    tell_claim,
    write_family_lines,
    write_study_lines,
)
from tapioca.studies.parts import Charts, HeatTile
from tapioca.studies.results import SettingResult, StudyResult
from tapioca.studies.rules import Margins

NAMES = {drawing.name for drawing in CHARTS}


@pytest.fixture(scope="module")
def info() -> StudyResult:
    return study()


@pytest.fixture(scope="module")
def path(info: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page where the program writes it."""
    return write_study_page(info.model_copy(update={"folder": tmp_path_factory.mktemp("study")}))


@pytest.fixture(scope="module")
def page(path: Path) -> str:
    return path.read_text()


def text(page: str) -> str:
    """What a reader sees: no tags, single spaces."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def cells(page: str, first: str) -> list[list[str]]:
    """Every row of a table whose first cell holds a text."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, flags=re.DOTALL)
    found = [[text(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)] for row in rows]
    return [row for row in found if row and row[0].startswith(first)]


def values(chart: Any) -> list[dict[str, Any]]:
    """All rows a chart draws, however deep."""
    if isinstance(chart, dict):
        own = [chart["values"]] if isinstance(chart.get("values"), list) else []
        rows = [row for some in own for row in some if isinstance(row, dict)]
        return rows + [row for value in chart.values() for row in values(value)]
    return [row for value in chart for row in values(value)] if isinstance(chart, list) else []


def test_the_page_is_one_file_without_network_or_scripts(path: Path, page: str) -> None:
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]
    assert "<script" not in page
    assert "<link" not in page
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_charts_are_written_as_figures(info: StudyResult, tmp_path: Path) -> None:
    """Some of them; the page draws all."""
    charts = dict([(name, chart) for name, chart in draw_study_charts(info).items() if chart is not None][::6])
    assert len(charts) >= 2
    save_charts(charts, tmp_path / "figures")
    check_figures(tmp_path / "figures", charts)


def test_a_page_that_cannot_be_written_says_so(info: StudyResult, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        write_study_page(study(bare()).model_copy(update={"folder": tmp_path / "none"}))


def test_parts_stand_in_order(page: str) -> None:
    said = text(page)
    heads = [
        "When dropping layers helps",
        "In polynomials (6 models)",
        "C1 Pruning brings",
        "Five figures",
        " 5. 32 labelled",
    ]
    heads += [
        "Everything",
        "What dropping layers brings (C1, C2).",
        "C1: Pruning brings",
        "C5: Pruning moves",
        "C9: The same",
        "Q1: Does it hold",
        "Q2: What does",
        "Q3: Distorted",
        "Time spent measuring",
    ]
    places = [said.index(head) for head in heads]
    assert all(before < after for before, after in pairwise(places))


def test_five_lines_tell_verdicts_with_their_numbers(info: StudyResult) -> None:
    lines = dict(write_family_lines(info))
    assert len(lines) == 5
    assert lines["What dropping layers brings (C1, C2)"] == (
        "C1 is supported in polynomials (gain in distribution −0.100 [−0.150, −0.050], error ratio 1.11, 6 models). "
        "C2 is supported in polynomials (gain of greedy's plan +0.250 [+0.200, +0.300], error ratio 0.779, 6 models)."
    )
    assert (
        "C5 is not supported in polynomials (distance realignment −0.120"
        in lines["Realignment, and the layers chosen (C5, C6)"]
    )
    assert "cloze" not in " ".join(lines.values())


def test_lines_of_a_study_that_decided_nothing() -> None:
    lines = dict(write_family_lines(study(bare())))
    assert lines["Cause (C7, C8)"] == "C7 can be decided in no setting. C8 can be decided in no setting."


def test_a_verdict_is_told_by_a_number_behind_it() -> None:
    told = setting().claim("C5")
    assert select_main_finding(told).name == "distance realignment"  # type: ignore[union-attr]
    other = told.model_copy(update={"told_by": ("norm realignment", "distance realignment")})
    assert select_main_finding(other).name == "norm realignment"  # type: ignore[union-attr]
    silent = told.model_copy(update={"told_by": ()})
    assert select_main_finding(silent).name == "norm realignment"  # type: ignore[union-attr]
    assert select_main_finding(bare().claim("C5")) is None


def test_the_verdict_table_has_a_symbol_and_a_number_in_each_cell(page: str) -> None:
    rows = {name: row for name in ("C2", "C5", "C6", "C9") for row in cells(page, f"{name} ")[:1]}
    assert rows["C2"] == [
        "C2 Pruning makes models better on OOD data.",
        "✓ supported +0.250 [+0.200, +0.300] gain of greedy's plan",
        "?",
    ]
    assert rows["C5"][1].startswith("✗ not supported −0.120 [")
    assert rows["C6"][1].startswith("? inconclusive ")
    assert rows["C9"][2] == "–"
    assert "✓ supported, ✗ not supported, ? inconclusive, – not asked." in text(page)


def test_three_sentences_of_findings_are_made_of_the_record(info: StudyResult) -> None:
    assert describe_study(info) == (
        "9 claims about what dropping layers does to models whose data have shifted, each judged by a rule written down before "
        "the first result: 300 cells, a model on a task each, were measured (14 more are missing) in 2 settings."
    )
    assert write_findings(info) == [
        "In polynomials (6 models) the rules support 7 (C1, C2, C3, C4, C7, C8, C9), speak against 1 (C5) and leave open 1 (C6) of 9 claims.",
        "There, “Pruning makes models better on OOD data” (C2) is supported: gain of greedy's plan +0.250 [+0.200, +0.300], "
        "error ratio 0.779, 6 models.",
        "Elsewhere, in cloze none can be decided.",
    ]
    whole = info.settings[0]
    other = whole.model_copy(update={"name": "second", "models": whole.models[:2], "claims": whole.claims[4:6]})
    both = info.model_copy(update={"settings": (other, whole)})
    assert select_main_setting(both) is whole
    assert write_findings(both)[2] == "Elsewhere, second decides C5 (not supported)."
    assert describe_elsewhere(both, "C5") == "not supported in second"
    assert describe_elsewhere(both, "C6") == "inconclusive in second"
    assert describe_elsewhere(both, "C2") == ""
    assert write_findings(study(whole))[2] == "There is no other setting."


def test_five_figures_come_first_with_what_is_found_in_them(page: str) -> None:
    told = re.findall(r'<p class="told" id="([^"]*)">(.*?)</p>\n<figure>', page, flags=re.DOTALL)
    assert [name for name, _ in told] == ["kinds", "log-ratio-by-strength", "scatter", "doses", "labels"]
    sentences = [text(sentence) for _, sentence in told]
    assert sentences[0].startswith(
        "1. Of 3 kinds of shift, controls left out, the interval of the log ratio lies above 0 for 1"
    )
    assert sentences[2].startswith(
        "3. “Pruning moves OOD profiles back toward the ID ones” (C5) is not supported: distance"
    )
    assert sentences[4].startswith(
        "5. 32 labelled prompts are the fewest tried whose log ratio has an interval above 0 (+0.160 ["
    )
    assert page.count("<svg") == len(NAMES)  # none of them a second time
    assert page.count("stands above.") == len(told)


def test_a_claim_is_told_with_the_number_that_a_figure_draws(info: StudyResult) -> None:
    told = tell_claim("C2", "its rank among plans", info, info.settings[0])
    assert told.endswith("error ratio 0.779, 6 models; its rank among plans 3.1 % [−1.9 %, 8.1 %].")
    assert tell_claim("C2", "gain of greedy's plan", info, info.settings[0]) == tell_claim(
        "C2", "", info, info.settings[0]
    )
    assert tell_claim("C9", "", info, info.settings[1]) == "C9 was not asked."


def test_the_first_study_is_within_a_megabyte() -> None:
    """The page in the repository, which its record gives again."""
    folder = Path(__file__).parents[2] / "studies" / "results" / "claims"
    assert (folder / "report.html").stat().st_size < 1_000_000


def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r'href="#([^"]+)"', page)
    assert {"C1", "C9", "kinds"} <= set(targets) <= set(re.findall(r'\bid="([^"]+)"', page))


def test_numbers_behind_a_claim(page: str) -> None:
    pooled = cells(page, "gain of greedy's plan")[0]
    assert pooled == [
        "gain of greedy's plan",
        "yes",
        "+0.250 [+0.200, +0.300], error ratio 0.779",
        "0.012",
        "6",
        "3",
        "54",
        "4608",
        "2",
    ]
    beside = cells(page, "its rank among plans")[0]
    assert beside[1:3] == ["beside", "3.1 % [−1.9 %, 8.1 %]"]
    kinds = [row[:3] for row in cells(page, "context noise") if "supported" in row[1] or "inconclusive" in row[1]]
    assert kinds[0] == ["context noise", "? inconclusive", "0.040"]
    control = [row for row in cells(page, "rule negated (control)") if row[1:3] == ["–", "–"]]
    assert control[0][3] == "+0.001 [−0.049, +0.051]"
    assert "No verdict is passed on a single size: each has 3 models." in text(page)
    sizes = [row for row in cells(page, "15 k") if row[2] == "+ (+0.250)"]
    assert sizes[0] == ["15 k", "3", "+ (+0.250)", "+ (3.1 %)"]


def test_kinds_and_sizes_are_folded(page: str) -> None:
    folded = re.findall(r"<details>(.*?)</details>", page, flags=re.DOTALL)
    second = next(one for one in folded if "C2 by kind of shift and size" in one)
    assert ["target offset", "+ (+0.250)", "− (−0.250)"] in cells(second, "target offset")
    assert "C2 in context_noise" in second


@pytest.mark.parametrize(("top", "ticks"), [(1, [0, 1]), (4, [0, 1, 2, 3, 4]), (5, None), (40, None)])
def test_counts_have_whole_ticks(top: int, ticks: list[int] | None) -> None:
    assert count_axis(top).to_dict().get("values") == ticks


def test_details_are_folded_a_setting_each(info: StudyResult, page: str) -> None:
    assert "<details open" not in page
    heads = [text(head) for head in re.findall(r"<details><summary>(.*?)</summary>", page)]
    for one in info.settings:
        assert sum(f"({one.name})" in head for head in heads) == len(one.claims) + len(QUESTIONS) + 1
    assert sum(head.endswith("(polynomials): ✗ not supported") for head in heads) == 1


def test_an_example_is_drawn_of_one_setting(info: StudyResult) -> None:
    """As of all settings it would be the largest part of a page."""
    second = info.settings[0].model_copy(
        update={"name": "second", "charts": Charts(scatter=info.settings[0].charts.scatter), "models": (), "labels": ()}
    )
    both = study(info.settings[0].model_copy(update={"charts": Charts()}), second)
    drawn = _draw_shown_charts(both, both.settings[0])
    assert "second-correlations" in drawn
    assert "second-scatter" not in drawn
    assert "second-scatter" in draw_study_charts(both)


def test_nothing_is_drawn_where_nothing_can_be_decided(info: StudyResult) -> None:
    silent = info.settings[0].model_copy(update={"unjudged": "fewer than three models"})
    page = render_study_page(study(silent))
    assert "<svg" not in page
    assert "Charts of such settings are not shown; tapioca report FOLDER --figures OUT draws them." in text(page)


def test_units_are_said_once(info: StudyResult, page: str) -> None:
    second = next(found for found in info.settings[0].claims if found.claim == "C2")
    gains = [finding.name for finding in second.findings if finding.unit == "log ratio of errors"]
    assert f"{', '.join(gains)}: ln(error of the full model / error of the plan), above 0" in describe_units(second)
    assert describe_units(second).count("ln(error of the full model") == 1
    alone = second.model_copy(update={"findings": second.findings[:1]})
    assert describe_units(alone).startswith("all numbers: ln(error")


def test_rules_are_shown_as_the_data_that_decide(info: StudyResult, page: str) -> None:
    said = text(page)
    for rule in info.rules.values():
        assert rule.statement in said
        for sentence in (sentence for side in rule.to_sentences(info.margins).values() for sentence in side):
            assert sentence in said or sentence[:1].upper() + sentence[1:] in said
    assert "Norm deviation less its null: 95 % interval below 0.01 (the margin of deviation)." in said
    bounds = {side.bound for rule in info.rules.values() for side in (*rule.supported, *chain(*rule.not_supported))}
    assert bounds == {0, "error", "-error", "deviation"}
    other = study(bare()).model_copy(update={"margins": Margins(error=0.05, deviation=0.03)})
    changed = text(render_study_page(other))
    assert "Norm deviation less its null: 95 % interval below 0.03 (the margin of deviation)." in changed
    assert "searched on ID data: 95 % interval below 0.0513 (the margin of error)." in changed


def test_what_was_changed_after_first_results_is_said(page: str) -> None:
    assert "written down before the first result:" in text(page)
    said = text(render_study_page(study(bare()).model_copy(update={"amended": ("A margin was <doubled>.",)})))
    assert "before the first result, but for the changes listed below:" in said
    assert "Changed after first results had been seen A margin was <doubled>." in said


def test_the_questions_are_answered_in_numbers(page: str) -> None:
    said = text(page)
    assert (
        "Of 3 kinds of shift, controls left out, the interval of the log ratio lies above 0 for 1 (input scale), below 0 for 1 (context noise)"
        in said
    )
    assert "the norm deviation lies above its null for 3, the distance deviation for 0" in said
    assert "Greedy search tries 15.0 plans, 60.0 layers for one prompt" in said
    assert "32 labelled prompts are the fewest tried whose log ratio has an interval above 0 (+0.160 [" in said
    assert (
        "Of 30 cells, controls left out, 6 are in distribution, 9 are distorted, 3 are misaligned, 12 are undecided."
        in said
    )
    assert cells(page, "128")[-1] == ["128", "+0.250 [+0.200, +0.300]", "100.0 % [100.0 %, 100.0 %]"]
    assert ["context noise", "0.500", "0.620", "0.970", "25.5 %", "28 of 30", "10 %"] in cells(page, "context noise")


def test_what_was_run(page: str) -> None:
    said = text(page)
    assert "learner_15000_0 (15 k parameters, 4 of 4 kinds complete)" in said
    assert "stories260K (not measured, 0 of 1 kinds complete)" in said
    assert "300 measured, 12 missing; of tuned models 18 and 0; sweeps of scales 60 and 6" in said
    assert "Time spent measuring: 3.5 h. Seed 1; 2000 bootstrap resamples" in said
    assert "tapioca study studies/claims.yaml" in said
    assert "context noise: lab:context_noise=0, lab:context_noise=1" in said


def test_everything_missing_is_said(page: str) -> None:
    missing = text(render_study_page(study(bare().model_copy(update={"unjudged": ""}))))
    for drawing in CHARTS:
        if drawing.name != "sizes":  # C9 is not asked there
            assert drawing.absent in missing
    missing = text(render_study_page(study(bare())))
    assert "<svg" not in render_study_page(study(bare()))
    assert "No claim is decided in cloze: fewer than three models." in missing
    assert "What searches compute was not measured." in missing
    assert "Nothing was measured for this claim here." in missing


def test_every_chart_is_drawn_and_valid(info: StudyResult) -> None:
    drawn = draw_study_charts(info)
    assert set(drawn) == {f"polynomials-{name}" for name in NAMES}
    for name, chart in drawn.items():
        made = chart.to_dict()  # validates against the schema of Vega-Lite
        assert made["title"]["text"], name
        assert made["title"]["subtitle"][0] == "in-context learners of cubic polynomials"
        assert len(values(made)) + sum(len(rows) for rows in made.get("datasets", {}).values()) > 1, name


def test_charts_draw_the_numbers_of_the_record(info: StudyResult) -> None:
    drawn = {
        name.removeprefix("polynomials-"): values(chart.to_dict()) for name, chart in draw_study_charts(info).items()
    }
    tile = info.settings[0].charts.heat[0]
    assert {"kind": "context noise", "layer": 0, "value": tile.log_ratio, "text": signed(tile.log_ratio, 1)} in drawn[
        "heat"
    ]
    kinds = {"kind": "rule negated (control)", "control": True, "value": 0.2, "low": 0.1, "high": pytest.approx(0.3)}
    assert kinds in drawn["kinds"]
    bars = [row for row in drawn["correlations"] if "cells" in row]
    assert sum(row["cells"] for row in bars) == 40 + 42
    assert {row["from"] for row in bars} >= {-1.0}
    assert max(row["to"] for row in bars) == pytest.approx(1.0)
    assert sum(row.get("series") == "greedy's plan" for row in drawn["scatter"]) == 2  # in both panels
    assert {"x": 32, "value": 0.16, "low": pytest.approx(0.11), "high": pytest.approx(0.21)} in drawn["labels"]
    doses = [row for row in drawn["doses"] if row.get("series") == "all layers" and row["x"] == 0]
    assert [row["value"] for row in doses] == [-4.0]  # of the gain alone: no layer is left to observe


def test_poor_settings_are_drawn_too() -> None:
    """One kind, one strength, one layer, no intervals, a layer that cannot be dropped."""
    whole = setting(KINDS[:1], layers=2, strengths=1)
    heat = tuple(HeatTile(kind=KINDS[0], layer=layer, norm=0.0, distance=0.0, log_ratio=None) for layer in range(2))
    points = tuple(
        point.model_copy(update={"norm_ci95": None, "distance_ci95": None}) for point in whole.charts.profiles
    )
    poor = whole.model_copy(
        update={
            "charts": whole.charts.model_copy(update={"heat": heat, "profiles": points, "line": ()}),
            "labels": whole.labels[:1],
        }
    )
    page = render_study_page(study(poor))
    assert page.count("<svg") == len(NAMES)
    assert ">–</text>" in page


def test_half_a_setting(info: StudyResult) -> None:
    half: SettingResult = info.settings[0].model_copy(update={"charts": Charts(heat=info.settings[0].charts.heat)})
    assert set(draw_study_charts(study(half))) == {
        f"polynomials-{name}" for name in ("heat", "kinds", "labels", "skills", "truths")
    }
    assert "No layers were scaled, so there is no dose-response." in text(render_study_page(study(half)))


def test_drawings_of_one_page_share_no_names(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert any(name.startswith("polynomials-heat-gradient") for name in ids)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_the_screen_has_a_line_for_each_claim(info: StudyResult) -> None:
    lines = write_study_lines(info)
    assert lines[0] == "polynomials: 300 cells measured, 12 missing"
    assert lines[2] == (
        "  C2  ✓ supported      gain of greedy's plan +0.250 [+0.200, +0.300], error ratio 0.779, 6 models"
    )
    assert lines[10] == "cloze: 0 cells measured, 2 missing; fewer than three models"
    assert len(lines) == 1 + 9 + 1 + 8
    console = Console(file=io.StringIO(), width=200)
    show_study(info, console)
    assert console.file.getvalue().splitlines() == lines  # type: ignore[attr-defined]


def test_small_numbers_are_not_shown_as_zero() -> None:
    assert format_number_in_unit(0.0, "log ratio of errors") == "+0.000"
    assert format_number_in_unit(-0.0002, "log ratio of errors") == "−0.0002"
    assert format_number_in_unit(-2e-17, "rank correlation") == "+0.00"
    assert format_number_in_unit(0.2131, "rank correlation") == "+0.21"
    assert format_number_in_unit(0.2131, "share") == "21.3 %"


def test_intervals_are_not_broken_across_lines(page: str) -> None:
    assert "[+0.200,\u00a0+0.300]" in page


def test_colours_of_a_heat_map_bleach_neither_many_nor_one() -> None:
    """They end at three times the median, at a fifth of the largest if that is more, and never beyond the largest."""
    assert _color_bound([0.1] * 9 + [1.0]) == pytest.approx(0.3)
    assert _color_bound([0.001] * 9 + [1.0]) == pytest.approx(0.2)
    assert _color_bound([0.1, 0.1]) == pytest.approx(0.1)
    assert _color_bound([]) == _color_bound([0.0]) == 1.0
