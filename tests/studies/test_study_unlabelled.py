"""What criteria without labels bring in a study, and how many labels each is worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.simulated_cells import World, analyse, cells, setting, study

from tapioca.studies.analyse.unlabelled import count_labels_worth, list_allowed, rank_plans
from tapioca.studies.cell import Cell, CellKey, UnlabelledScores
from tapioca.studies.page.points import draw_log_ratios_by_labels, spread_apart
from tapioca.studies.page.tables import tabulate_criteria
from tapioca.studies.page.text import describe_criteria
from tapioca.studies.results import SettingResult

WHERE = CellKey("toy", "m0", 100, "kind_0", 0, "t")
SIZES = np.array([0, 1, 1, 2])
SCORES = UnlabelledScores(
    WHERE,
    np.array(["geometry", "faithful", "linear"]),
    np.array([[0.0, 0.2, 0.9, 0.5], [0.0, -0.05, -0.3, -0.1], [0.0, -0.4, -0.1, -0.2]]),
)


def test_a_plan_that_changes_id_answers_too_much_is_not_chosen() -> None:
    """The bound itself is allowed."""
    np.testing.assert_array_equal(list_allowed(SCORES), [True, True, False, True])
    assert rank_plans(SCORES, "geometry", SIZES).tolist() == [3, 1, 0]


def test_where_faithfulness_is_not_known_every_plan_is_allowed() -> None:
    alone = replace(SCORES, names=SCORES.names[:1], scores=SCORES.scores[:1])
    assert rank_plans(alone, "geometry", SIZES).tolist() == [2, 3, 1, 0]


@pytest.mark.parametrize("name", ["faithful", "linear"])
def test_criteria_that_prefer_the_full_model_put_up_the_largest_plans(name: str) -> None:
    assert rank_plans(SCORES, name, SIZES).tolist() == [3, 1, 0]


def test_labels_worth_are_read_off_the_curve_of_the_search() -> None:
    counts, curve = np.array([4, 8, 16]), np.array([[-0.1, 0.2, 0.1]])
    for value, worth in ((-0.3, 0.0), (0.0, 0.0), (0.1, 6.0), (0.15, 7.0), (0.21, np.inf)):
        found = count_labels_worth(np.array([value]), counts, curve)
        assert found[0] == (pytest.approx(worth) if worth < np.inf else np.inf)


@pytest.fixture(scope="module")
def result() -> SettingResult:
    """Dropping the last layer gains; every other drop harms."""
    asked = setting(models=4, kinds=4, strengths=1)
    made = cells(World(gain=0.5, harm=0.2, noise=0.6, prompts=64), asked)
    beside = [unlabelled(cell) for cell in made if cell.where.kind != "id"]
    return analyse(study(asked), [*made, *beside]).settings[0]


def test_a_criterion_that_knows_the_gain_is_worth_all_labels_and_a_blind_one_none(result: SettingResult) -> None:
    curve = result.label_curve
    assert curve is not None
    assert [point.prompts for point in curve.points] == [4, 8, 16, 32, 64]
    gains = [point.log_ratio.value for point in curve.points]
    assert gains[0] < gains[-1] == pytest.approx(0.5, abs=0.1)
    knowing, blind = curve.criteria
    assert (knowing.name, blind.name) == ("geometry", "margin")
    assert knowing.log_ratio.value == pytest.approx(0.5, abs=0.1)
    assert knowing.labels_worth is None or knowing.labels_worth > 8
    assert blind.log_ratio.value == 0.0
    assert (blind.labels_worth, blind.empty) == (0.0, 1.0)
    assert knowing.prior[0].log_ratio.value > gains[0]  # four labels and a shortlist against four labels alone


def unlabelled(cell: Cell) -> UnlabelledScores:
    """One criterion that prefers to drop the last layer alone, and one that prefers the full model."""
    dropped = (~cell.kept).astype(float)
    knowing = dropped[:, -1] - dropped[:, :-1].sum(axis=1)
    blind = -dropped.sum(axis=1)
    return UnlabelledScores(cell.where, np.array(["geometry", "margin"]), np.stack([knowing, blind]))


def test_the_page_names_every_criterion_and_what_it_is_worth(result: SettingResult) -> None:
    table = tabulate_criteria(result)
    assert [row[0] for row in table.rows] == ["geometry", "margin"]
    assert table.head[-1] == "best of its first 8 by 8 labels"
    assert table.rows[1][2:4] == ("100 %", "0 [0, 0]")
    assert result.label_curve is not None
    said = describe_criteria(result.label_curve)
    assert said.startswith(
        "Of 2 criteria that read no OOD answer 1 bring a log ratio whose interval lies above 0; the most, +0."
    )
    drawn = json.dumps(draw_log_ratios_by_labels(result).to_dict())  # type: ignore[union-attr]
    assert '"name": "geometry"' in drawn
    assert '"name": "margin"' in drawn


def test_names_of_lines_stand_a_gap_apart_around_where_they_belong() -> None:
    assert spread_apart([0.0, 1.0], 0.5) == [0.0, 1.0]
    assert spread_apart([0.0, 0.0, 0.0], 0.5) == pytest.approx([-0.5, 0.0, 0.5])
