"""What a study says beforehand: what it could see, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.simulated_cells import setting, study

from tapioca.cli.main import main
from tapioca.errors import UsageError
from tapioca.studies.analyse.power import estimate_power, simulate_measure
from tapioca.studies.read import read_study
from tapioca.studies.spec import Assumption

STUDIES = Path(__file__).parents[2] / "studies"


def test_power_is_certain_of_large_effects_and_the_level_of_none() -> None:
    asked = setting(models=8, kinds=8, strengths=1)

    def power(effect: float) -> float:
        assumption = Assumption(effect=effect, between_kinds=0.1, between_models=0.1)
        return simulate_measure(study(asked), asked, "log_ratio", assumption).power

    assert power(1.0) == 1.0
    assert power(1e-9) <= 0.05  # of two sides, one
    assert power(0.02) < power(0.1) < power(0.3)


def test_power_rises_with_the_number_of_kinds() -> None:
    few, many = (setting(models=8, kinds=kinds, strengths=1) for kinds in (3, 12))
    assumption = Assumption(effect=0.1, between_kinds=0.1, between_models=0.05)
    first, second = (simulate_measure(study(asked), asked, "log_ratio", assumption) for asked in (few, many))
    assert (first.kinds, second.kinds) == (3, 12)
    assert first.power < second.power


def test_tuned_kinds_alone_count_for_what_tuning_does() -> None:
    """And settings too small to decide have no power."""
    claims2 = read_study(STUDIES / "claims2.yaml")
    found = estimate_power(
        claims2.model_copy(
            update={
                "power": {"control_less_tuned_log_ratio": Assumption(effect=0.2, between_kinds=0.1, between_models=0.1)}
            }
        )
    )
    assert [(power.setting, power.models, power.kinds) for power in found] == [("polynomials", 12, 5)]


def test_an_effect_of_0_is_refused(tmp_path: Path) -> None:
    content = yaml.safe_load((STUDIES / "quick.yaml").read_text())
    content |= {
        "claims": str(STUDIES / "claims.yaml"),
        "power": {"log_ratio": {"effect": 0, "between_kinds": 0, "between_models": 0}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"power\.log_ratio: effect is 0, which no study can see"):
        read_study(tmp_path / "study.yaml")


@pytest.mark.slow
def test_a_dry_run_says_what_a_study_costs_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((STUDIES / "quick.yaml").read_text()) | {
        "search": 8,
        "test": 8,
        "claims": str(STUDIES / "claims.yaml"),
        "power": {"log_ratio": {"effect": 0.1, "between_kinds": 0.1, "between_models": 0.1}},
    }
    content["settings"][0]["models"] = [str(STUDIES / "weights" / f"learner_24_{seed}") for seed in range(2)] + ["gone"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    assert main(["study", "study.yaml", "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "polynomials: 2 models, 1 left out, 24 measurements, about " in said
    assert "OOD log ratio of greedy's plan of +0.1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
