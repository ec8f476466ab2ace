"""The rules in a study's file decide, and what is wrong with one is said in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.simulated_cells import World, analyse, analyse_setting, cells, setting

from tapioca.cli.main import main
from tapioca.errors import DataError, UsageError
from tapioca.studies.analyse.claims import Claims
from tapioca.studies.measures import MEASURES
from tapioca.studies.page.page import render_study_page
from tapioca.studies.read import read_study
from tapioca.studies.results import ClaimResult, StudyResult
from tapioca.studies.rules import Condition, Margins
from tapioca.studies.spec import StudyFile

STUDIES = Path(__file__).parents[2] / "studies"
QUICK = (STUDIES / "quick.yaml").read_text()
CLAIMS = (STUDIES / "claims.yaml").read_text()


def edited(folder: Path, *edits: tuple[str, str]) -> Path:
    """The quick study with its claims beside it, with texts of either file replaced."""
    texts = {"quick.yaml": QUICK, "claims.yaml": CLAIMS}
    for old, new in edits:
        assert any(old in text for text in texts.values()), old
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder / "quick.yaml"


def judged(path: Path) -> StudyResult:
    """The study judged on simulated cells of its setting: dropping the last layer helps and takes profiles further away,
    both deviations are 0.005 above their null everywhere."""
    study = read_study(path).model_copy(update={"n_resamples": 100})
    world = World(gain=0.3, harm=0.3, noise=0.05, realigned=-0.1, layers=3, prompts=16)
    found = cells(world, study.settings[0], parameters=(100,))
    return analyse(study, [replace(cell, deviation=np.full((2, 1), cell.null_mean[:, None] + 0.005)) for cell in found])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return judged(edited(tmp_path_factory.mktemp("study")))


def claim(info: StudyResult, name: str) -> ClaimResult:
    return info.settings[0].claim(name)


def test_one_bound_of_the_quick_study_flips_a_verdict_and_its_sentence(tmp_path: Path, before: StudyResult) -> None:
    """An excess that lies above 0 and below the margin decides nothing; one above a smaller margin does."""
    assert claim(before, "C3").decision == "inconclusive"
    assert claim(before, "C3").reason.endswith("+0.005 [+0.005, +0.005], below 0.01")
    after = judged(edited(tmp_path, ("deviation: 0.01", "deviation: 0.001")))
    assert claim(after, "C3").decision == "supported"
    assert claim(before, "C3").findings == claim(after, "C3").findings
    assert "Norm deviation less its null: 95 % interval below 0.001 (the margin of deviation)." in render_study_page(
        after
    )


@pytest.mark.parametrize(
    ("name", "edit", "decision"),
    [
        ("C2", ("{ measure: log_ratio, side: below, bound: error }", "{ measure: log_ratio, side: below, bound: 5 }"),
         "not supported"),  # inconclusive before
        ("C2", ("{ measure: log_ratio, side: above, bound: 0 }", "{ measure: accuracy, side: above, bound: 0 }"),
         "inconclusive"),  # not measured
        ("C3", ("{ measure: norm_excess, side: below, bound: deviation }",
                "{ measure: norm_excess, side: below, bound: -1 }"), "supported"),
        ("C3", ("min_models: 3", "min_models: 4"), "inconclusive"),
    ],
)  # fmt: skip
def test_what_a_rule_says_is_what_is_judged(tmp_path: Path, name: str, edit: tuple[str, str], decision: str) -> None:
    assert claim(judged(edited(tmp_path, edit)), name).decision == decision


def test_a_verdict_says_which_numbers_told_it(before: StudyResult) -> None:
    told = claim(before, "C5")
    assert told.decision == "not supported"
    assert told.told_by == ("norm realignment by greedy's plan", "distance realignment by greedy's plan")
    assert claim(before, "C9").told_by == ("OOD log ratio of greedy's plan",)  # of one size there is no line
    for found in before.settings[0].claims:
        assert set(found.told_by) <= {finding.name for finding in found.findings}


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (("{ measure: norm_excess, side: above", "{ measure: norm_exces, side: above"),
         "claims.yaml, line {}: claims.C3.supported.0.measure: unknown measure 'norm_exces'; did you mean 'norm_excess'? known: "),
        (("beside: [line_slope]", "beside: [line_slop]"),
         "claims.yaml, line {}: claims.C9.beside.0: unknown measure 'line_slop'; did you mean 'line_slope'? known: "),
        (("bound: -error", "bound: -errror"),
         "claims.yaml, line {}: claims.C7.supported.3.bound: unknown margin '-errror'; expected a number, or a margin: did you mean 'error'? known: deviation, error"),
        (("side: below, bound: deviation", "side: under, bound: deviation"),
         "claims.yaml, line {}: claims.C3.not_supported.0.side: Input should be 'above' or 'below', got 'under'"),
        (("bound: 0, at: every size", "bound: 0, att: every size"),
         "claims.yaml, line {}: claims.C9.supported.0.att: unknown key 'att'; did you mean 'at'? known: at, bound, measure, side"),
        (("min_models: 3\n", "min_model: 3\n"),
         "quick.yaml, line {}: min_model: unknown key 'min_model'; did you mean 'min_models'? known: "),
        (("margins: { error: 0.02, deviation: 0.01 }", "margins: { error: 2, deviation: 0.01 }"),
         "quick.yaml, line {}: margins.error: Input should be less than 1, got 2"),
        (("margins: { error: 0.02, deviation: 0.01 }", "margins: { error: 0.02 }"),
         "quick.yaml, line {}: 'margins.deviation' is missing"),
        (("controls: [context_permuted]", "controls: [context_permutd]"),
         "quick.yaml, line {}: settings.0: 'context_permutd' is none of the shifts; did you mean 'context_permuted'? known: "),
        (("{ measure: norm_excess, side: below, bound: deviation }", "{ measure: norm_excess, side: below, bound: true }"),
         "claims.yaml, line {}: claims.C3.not_supported.0.bound: a bound is a number or the name of a margin"),
        (("    beside: [id_log_ratio_nonempty]\n", "    measure: The log ratio.\n"),
         "claims.yaml, line {}: claims.C1.measure: unknown key 'measure'; "),
    ],
    ids=lambda value: value[1].strip()[:40] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: tuple[str, str], line: str
) -> None:
    assert main(["study", str(edited(tmp_path, edit))]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    name, _, rest = line.partition(", line {}")
    number, _, message = error.split(f"{tmp_path / name}, line ")[1].partition(":")
    assert message.startswith(rest[1:])
    row = (tmp_path / name).read_text().splitlines()[int(number) - 1].strip()
    assert row in edit[1] or edit[1].strip() in row or message.startswith(" settings.0")


def test_a_misspelt_table_is_an_error_and_never_a_number_that_was_not_measured() -> None:
    claims: Claims = analyse_setting(read_study(STUDIES / "claims.yaml"), setting(), []).claims
    with pytest.raises(DataError, match=r"unknown table 'norm_exces'; did you mean 'norm_excess'\? known: "):
        claims.table("norm_exces")
    with pytest.raises(UsageError, match=r"unknown measure 'gain'; known: accuracy, "):
        claims.measure("gain")
    for name in MEASURES:
        spec = MEASURES[name]
        assert claims.table(spec.table or name) == {}


def test_an_unknown_setting_claim_or_finding_is_an_error_that_names_the_nearest(before: StudyResult) -> None:
    with pytest.raises(
        UsageError, match=r"unknown setting 'polynomial'; did you mean 'polynomials'\? known: polynomials"
    ):
        before.setting("polynomial")
    with pytest.raises(UsageError, match="unknown claim 'C10'; did you mean 'C1'"):
        before.settings[0].claim("C10")
    with pytest.raises(UsageError, match="unknown finding 'gain'; "):
        claim(before, "C2").finding("gain")


def test_thresholds_stand_in_the_files_alone() -> None:
    """What a rule needs has no second standing in the program that a file could differ from."""
    needed = {"margins", "min_models", "ceiling", "claims"}
    assert {name for name in needed if StudyFile.model_fields[name].is_required()} == needed
    assert {name for name, field in Margins.model_fields.items() if field.is_required()} == {"error", "deviation"}


def test_sentences_are_made_from_conditions() -> None:
    margins = Margins(error=0.5, deviation=0.3)
    assert margins.log_ratio == pytest.approx(0.6931472)
    made = {
        "OOD log ratio of greedy's plan: 95 % interval below 0.693 (the margin of error)":
            Condition(measure="log_ratio", side="below", bound="error"),
        "OOD log ratio of greedy's plan: 95 % interval above -0.693 (minus the margin of error)":
            Condition(measure="log_ratio", side="above", bound="-error"),
        "distance deviation less its null: 95 % interval below 0.3 (the margin of deviation)":
            Condition(measure="distance_excess", side="below", bound="deviation"),
        "slope of that line: 95 % interval above 0.125": Condition(measure="line_slope", side="above", bound=0.125),
        "OOD log ratio of greedy's plan: mean above 0 at every model size, of at least two":
            Condition(measure="log_ratio", side="above", bound=0, at="every size"),
    }  # fmt: skip
    for sentence, condition in made.items():
        assert condition.to_sentence(margins) == sentence


@pytest.mark.parametrize("rest", [["studies/quick.yaml"], ["studies/quick.yaml", "--out", "x"], []])
def test_the_commands_old_name_names_the_new_one(rest: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "study", *rest]) == 2
    assert capsys.readouterr().err == "error: `tapioca lab study` is called `tapioca study` now\n"
