"""Plans that are to be small, or to cost little on ID data."""

from __future__ import annotations

from pathlib import Path

import pytest

import tapioca
from tapioca.commands.prune.result import PruneResult
from tapioca.commands.prune.words import describe_targets
from tapioca.errors import UsageError
from tapioca.models.cost import count_parameters
from tapioca.models.load import load
from tapioca.plan import Plan

SETTINGS = {"task": "lab:target_offset=2,n=80", "reference": "lab:id,n=80", "batch_size": 40, "random_plans": 0}


def prune(folder: Path, **settings: object) -> PruneResult:
    return tapioca.prune("learner", out=folder, progress=False, **{**SETTINGS, **settings})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    return prune(tmp_path_factory.mktemp("runs") / "small", target_params=0.5)


def test_the_search_goes_on_until_a_plan_is_small_enough(small: PruneResult) -> None:
    model = load("learner").model
    share = count_parameters(model, small.plan) / count_parameters(model, Plan.full(8))
    assert share <= 0.5
    assert small.targets is not None
    rows = small.targets.plans
    assert [row.plan.size for row in rows] == list(range(len(rows)))
    assert rows[small.plan.size].parameters == pytest.approx(share)
    assert [row for row in rows if row.parameters <= 0.5] == [
        rows[-1]
    ]  # it stops at the first, which is below the floor
    assert rows[-1].score < small.rounds[0].winner.score
    judgement = small.find_result("ood")
    assert judgement is not None
    assert judgement.plan == small.plan


def test_the_screen_says_which_plan_meets_the_target(small: PruneResult) -> None:
    share = 100 * small.targets.plans[-1].parameters if small.targets else 0
    assert describe_targets(small) == (
        f"targets met (at most 50 % of the parameters): {small.plan} leaves {share:.3g} % of the parameters; "
        "the best of 1 plan of the search that do"
    )
    page = (small.folder / "report.html").read_text()
    assert "Targets met (at most 50 % of the parameters)" in page


def test_what_a_plan_surely_costs_on_id_data_is_measured_on_search_rows(tmp_path: Path) -> None:
    found = prune(tmp_path / "harmless", max_drops=2, max_harm=0.05)
    assert found.targets is not None
    kept, *dropping = found.targets.plans
    assert kept.on_id is not None
    assert kept.on_id.ci95 == (0, 0)
    assert all(row.on_id and row.on_id.n == 40 and row.on_id.ci95[0] < -0.05 for row in dropping)
    assert found.plan.is_full  # every drop costs more
    assert found.shown.size == 1
    assert found.verdict.reason == "no drop of the search meets the targets"
    best = max(dropping, key=lambda row: row.on_id.ci95[0] if row.on_id else 0)
    assert describe_targets(found) == (
        "no drop of the search meets the target (at most 5 % more error on ID data); the least harmful: "
        f"{best.plan} leaves {100 * best.parameters:.3g} % of the parameters, {best.on_id} on ID search data"
    )


@pytest.mark.slow
def test_targets_that_no_plan_meets_are_told_with_the_nearest(tmp_path: Path) -> None:
    found = prune(tmp_path / "both", max_drops=2, target_params=0.8, max_harm=0.05)
    assert found.plan.is_full
    assert found.targets is not None
    smallest = found.targets.plans[2]
    assert describe_targets(found) == (
        "no drop of the search meets the targets (at most 80 % of the parameters and at most 5 % more error on ID data); "
        f"the least harmful of those small enough: {smallest.plan} leaves {100 * smallest.parameters:.3g} % of the parameters, "
        f"{smallest.on_id} on ID search data"
    )


@pytest.mark.slow
def test_what_cannot_get_small_enough_is_told_too(tmp_path: Path) -> None:
    found = prune(tmp_path / "large", max_drops=1, target_params=0.3)
    assert found.plan.is_full
    assert found.targets is not None
    (dropping,) = found.targets.plans[1:]
    assert describe_targets(found) == (
        "no drop of the search meets the target (at most 30 % of the parameters); the smallest that was tried: "
        f"{dropping.plan} leaves {100 * dropping.parameters:.3g} % of the parameters"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_harm": 0.01, "reference": None}, "--max-harm is about ID data, got none; give --reference"),
        (
            {"target_params": 0.8, "criterion": "repeat"},
            "--target-params asks for a smaller model, but --criterion repeat repeats layers; choose another",
        ),
        (
            {"target_params": 0.8, "criterion": "geometry"},
            "--target-params asks for a smaller model, but --criterion geometry stops where answers to ID data change",
        ),
        (
            {"target_params": 0.8, "criterion": "mlp"},
            "--target-params asks for a smaller model, but --criterion mlp drops parts of layers, and whole ones are counted",
        ),
        ({"target_params": 1.5}, "less than 1"),
    ],
)
def test_targets_that_cannot_be_tried_are_refused(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prune(tmp_path / "none", **settings)
