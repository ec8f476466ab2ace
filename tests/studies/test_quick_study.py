"""The quick study gives the committed numbers again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapioca.studies.results import Finding, StudyResult
from tapioca.studies.run import run_study
from tapioca.studies.spec import StudyConfig

STUDIES = Path(__file__).parents[2] / "studies"


def numbers(info: StudyResult) -> dict[tuple[str, str], Finding]:
    """Every finding by its claim and name."""
    return {(claim.claim, one.name): one for claim in info.settings[0].claims for one in claim.findings}


@pytest.mark.slow
def test_the_quick_study_repeats(tmp_path: Path) -> None:
    committed = StudyResult.model_validate_json((STUDIES / "results" / "quick" / "study.json").read_text())
    again = run_study(StudyConfig(file=STUDIES / "quick.yaml", out=tmp_path / "quick"))
    assert (again.measured, again.missing) == (committed.measured, committed.missing) == (21, 0)
    before, after = numbers(committed), numbers(again)
    assert before.keys() == after.keys()
    for key, found in after.items():
        then = before[key].pooled
        assert (found.pooled is None) == (then is None), key
        if found.pooled and then:
            assert then.ci95[0] <= found.pooled.value <= then.ci95[1], key
