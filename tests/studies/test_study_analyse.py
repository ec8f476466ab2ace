"""The whole analysis: what is missing, the open questions, the charts, and the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.simulated_cells import World, analyse, cells, doses, setting, study, tuned_cells

from tapioca.studies.analyse.log_ratios import PlanSet, measure_log_ratios, search_cell
from tapioca.studies.cell import Cell
from tapioca.studies.results import SettingResult, StudyResult
from tapioca.studies.spec import Setting

SURE = World(gain=0.6, bend=0.2, harm=0.3, noise=0.1, realigned=0.1)
ASKED = setting(models=4, kinds=3, strengths=2, controls=("kind_2",), tuned={"kind_0": "t0_1"}, fixed=1)


@pytest.fixture(scope="module")
def made() -> list[Cell]:
    found = []
    for one in cells(SURE, ASKED):
        ridge = -one.test[0] * 0.5
        found.append(replace(one, baselines=np.stack([ridge, ridge * 3, ridge * 4])))
    return found


@pytest.fixture(scope="module")
def info(made: list[Cell]) -> StudyResult:
    tuned = tuned_cells(World(gain=-0.5, harm=0.5, noise=0.02), SURE, ASKED)
    return analyse(study(ASKED, setting(name="empty")), [*made, *tuned, *doses(ASKED, 0.5, 0.2)])


@pytest.fixture(scope="module")
def found(info: StudyResult) -> SettingResult:
    return info.setting("toy")


def test_the_record_goes_to_json_and_back(info: StudyResult) -> None:
    assert StudyResult.model_validate_json(info.model_dump_json()) == info
    assert info.margins.log_ratio == pytest.approx(0.0202, abs=1e-4)


def test_a_setting_of_which_nothing_is_measured_says_so(info: StudyResult) -> None:
    empty = info.setting("empty")
    assert (empty.measured, empty.missing) == (0, 4 * 13)
    assert empty.unjudged == "nothing measured"
    assert {claim.decision for claim in empty.claims} == {"inconclusive"}
    assert empty.claim("C2").reason.endswith("52 of 52 cells not measured yet")
    assert all(model.parameters is None for model in empty.models)
    assert empty.charts.heat == empty.charts.doses == empty.labels == empty.computed == ()
    assert info.answers["C2"] == "Supported in toy; inconclusive in empty."
    assert (info.measured, info.missing) == (4 * 7, 4 * 13)


def test_missing_cells_leave_out_their_pair_and_are_counted(made: list[Cell], found: SettingResult) -> None:
    assert found.missing == 0
    lost = [one for one in made if (one.where.model, one.where.kind, one.where.strength) != ("m1", "kind_0", 1)]
    part = analyse(study(ASKED), lost).settings[0]
    gain, whole = (one.claim("C2").finding("OOD log ratio of greedy's plan").pooled for one in (part, found))
    assert gain is not None
    assert whole is not None
    assert (gain.cells, gain.models, gain.kinds, gain.prompts) == (14, 4, 2, 14 * 32)
    assert (whole.cells, whole.prompts) == (16, 16 * 32)
    assert part.claim("C2").reason.endswith("1 of 28 cells not measured yet")
    assert [model.complete for model in part.models] == [3, 2, 3, 3]
    without_id = [one for one in made if (one.where.model, one.where.kind) != ("m1", "id")]
    assert analyse(study(ASKED), without_id).settings[0].models[1].complete == 0


def test_the_pooled_gain_is_the_mean_of_the_cells_gains(made: list[Cell], found: SettingResult) -> None:
    direct: dict[str, list[float]] = {}
    for one in made:
        best = search_cell(PlanSet(one.kept), one).best
        direct.setdefault(one.where.kind, []).append(float(measure_log_ratios(one, 0, 0)[0, best]))
    gain = found.claim("C2").finding("OOD log ratio of greedy's plan")
    assert gain.pooled is not None
    assert gain.pooled.value == pytest.approx(np.mean(direct["kind_0"] + direct["kind_1"]))
    assert {row.kind: row.value.value for row in (*gain.kinds, *gain.controls)} == {
        kind: pytest.approx(np.mean(direct[kind])) for kind in ASKED.shifts
    }
    on_id = found.claim("C1").finding("ID log ratio of greedy's plan searched on ID data").pooled
    assert on_id is not None
    assert on_id.value == pytest.approx(np.mean(direct["id"]))
    assert (on_id.cells, on_id.kinds) == (4, 0)


def test_greedys_plan_is_the_best_of_its_size_and_drops_the_planted_layer(found: SettingResult) -> None:
    rank = found.claim("C2").finding("share of plans of its size that gain more").pooled
    peers = found.claim("C2").finding("mean log ratio of all plans of its size").pooled
    assert rank is not None
    assert peers is not None
    assert rank.value == 0
    assert peers.value < 0.3
    gains_of = {(tile.kind, tile.layer): tile.log_ratio for tile in found.charts.heat}
    shares = {(tile.kind, tile.layer): tile.norm for tile in found.charts.heat}
    for kind in ASKED.shifts:
        assert max(range(4), key=lambda layer, kind=kind: gains_of[kind, layer]) == 3
        assert shares[kind, 3] == pytest.approx(0.15, abs=0.02)  # 0.2 at the one strength, 0.1 at the other


def test_tuning_is_judged_against_its_control(found: SettingResult) -> None:
    claim = found.claim("C7")
    values = {one.name: one.pooled for one in claim.findings}
    after, control = (
        values["log ratio on shifted data after tuning on them"],
        values["log ratio on shifted data of models tuned on ID data"],
    )
    less = values["log ratio of the control less that after tuning"]
    assert after is not None
    assert control is not None
    assert less is not None
    assert after.value == 0
    assert control.value == pytest.approx(0.6, abs=0.05)
    assert less.value == pytest.approx(control.value - after.value)
    assert values["log ratio on former ID data after tuning on shifted data"] is not None
    assert (found.tuned_measured, found.tuned_missing) == (4, 0)


def test_q1_and_q3_count_every_cell_once(found: SettingResult) -> None:
    assert [row.kind for row in found.summaries] == list(ASKED.shifts)
    assert [sum(row.truths.values()) for row in found.summaries] == [8, 8, 8]
    assert [row.control for row in found.summaries] == [False, False, True]


def test_q2_searches_cost_less_through_the_tree_and_labels_buy_gain(found: SettingResult) -> None:
    greedy, space = found.computed
    assert (space.plans, space.tree, space.scratch) == (15, 15, 32)
    assert greedy.tree < greedy.scratch
    assert [row.prompts for row in found.labels] == [4, 8, 16, 32]
    last = found.labels[-1]
    gain = found.claim("C2").finding("OOD log ratio of greedy's plan").pooled
    assert gain is not None
    assert last.log_ratio.value == pytest.approx(gain.value)
    assert last.share is not None
    assert last.share.value == pytest.approx(1)
    assert all(row.share is not None and row.share.value <= 1.01 for row in found.labels)


def test_few_labels_mislead_a_noisy_search() -> None:
    noisy = cells(World(gain=0.3, harm=0.3, noise=1.0), ASKED)
    rows = analyse(study(ASKED), noisy).settings[0].labels
    assert rows[0].log_ratio.value < rows[-1].log_ratio.value - 0.05
    nothing = cells(World(gain=-0.5, harm=0.5, noise=0.02), ASKED)
    assert {row.share for row in analyse(study(ASKED), nothing).settings[0].labels} == {None}


def test_skill_is_told_against_ridge_and_the_constant(found: SettingResult) -> None:
    row = found.skills[0]
    assert (row.kind, row.cells, row.gaps) == ("kind_0", 8, 8)
    assert row.full == pytest.approx(0.5)  # the constant errs twice as much as the model, ridge half as much
    assert row.ridge == pytest.approx(0.75)
    assert row.pruned > row.full
    assert row.gap_closed is not None
    assert row.gap_closed == pytest.approx((row.pruned - row.full) / 0.25, abs=0.1)
    assert row.tail_only == 0


def test_a_gain_of_the_tail_alone_is_told() -> None:
    asked = setting(models=1, kinds=1, strengths=1)
    few, most = np.arange(32) < 3, np.arange(32) >= 3
    found = []
    for one in cells(World(noise=0.0), asked):
        scores = -np.where(few, 100.0, 1.0) * np.where(
            (~one.kept[:, -1:]) & few, 0.5, np.where(~one.kept[:, -1:] & most, 1.1, 1)
        )
        scores = scores * np.where((~one.kept[:, :-1]).any(1), 3, 1)[:, None]
        found.append(replace(one, search=scores, test=scores, baselines=np.ones((3, 32))))
    row = analyse(study(asked), found).settings[0].skills[0]
    assert row.tail_only == 1
    assert row.gap_closed is not None
    assert row.gap_closed > 0


def test_charts_are_of_every_kind_scale_and_strength(found: SettingResult, made: list[Cell]) -> None:
    charts = found.charts
    assert len(charts.heat) == len(charts.profiles) == 3 * 4
    assert [(p.layers, p.alpha) for p in charts.doses if p.layers == "chosen"] == [
        ("chosen", a) for a in (0, 0.25, 0.5, 0.75, 1, 1.5)
    ]
    assert [p.alpha for p in charts.doses if p.layers == "all"] == [0.25, 0.5, 0.75, 1, 1.5]  # 0 leaves no layer
    by_alpha = {p.alpha: p for p in charts.doses if p.layers == "chosen"}
    assert by_alpha[1].log_ratio.value == 0
    assert by_alpha[0].log_ratio.value == pytest.approx(0.5, abs=0.05)
    assert [(p.kind, p.strength) for p in charts.strengths] == [(kind, at) for kind in ASKED.shifts for at in range(3)]
    zero, *rest = charts.strengths[:3]
    assert zero.task == "id"
    assert zero.norm.value == pytest.approx(0.02)
    assert rest[1].anew.value == pytest.approx(rest[1].fixed.value)  # the fixed strength
    assert rest[0].norm.value < rest[1].norm.value
    assert charts.scatter is not None
    assert len(charts.scatter.plans) == 14
    assert len(charts.scatter.norm) == len(charts.scatter.distance) == 16
    assert sum(plan.greedy for plan in charts.scatter.plans) == 1
    assert [point.model for point in charts.sizes] == ["m0", "m1", "m2", "m3"]
    assert [point.parameters for point in charts.line] == [100, 400]
    assert charts.line[0].log_ratio.value == pytest.approx(
        np.mean([p.log_ratio for p in charts.sizes if p.parameters == 100])
    )


def test_cells_of_other_settings_and_models_are_ignored(made: list[Cell], found: SettingResult) -> None:
    other: Setting = setting(name="other", models=1, kinds=1, strengths=1)
    strangers = [*cells(SURE, other), *cells(SURE, setting(models=5, kinds=1))[-1:]]
    again = analyse(study(ASKED), [*made, *strangers]).settings[0]
    assert again.claim("C2") == found.claim("C2")
    assert again.measured == found.measured


def test_cells_come_back_from_their_files(tmp_path: Path, made: list[Cell], found: SettingResult) -> None:
    for at, one in enumerate(made):
        one.save(tmp_path / f"{at}.npz")
    loaded = [Cell.load(tmp_path / f"{at}.npz") for at in range(len(made))]
    assert analyse(study(ASKED), loaded).settings[0].claim("C5") == found.claim("C5")
