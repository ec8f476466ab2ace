"""The numbers that are left of a measured model: what they say, and what a study is without the models themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.simulated_cells import World, cells, doses, setting, study, tuned_cells

from tapioca.studies.analyse.cells import CellGrid, SettingAxes
from tapioca.studies.analyse.collect import measure_numbers
from tapioca.studies.analyse.numbers import SettingNumbers
from tapioca.studies.analyse.setting import SettingAnalysis
from tapioca.studies.cell import SavedArrays
from tapioca.studies.measures import RANK_CORRELATION
from tapioca.studies.model_numbers import KEPT_DRAWS, ModelNumbers, join_models
from tapioca.studies.results import SettingResult

SURE = World(gain=0.6, bend=0.2, harm=0.3, noise=0.1, realigned=0.1)
ASKED = setting(models=4, kinds=3, strengths=2, controls=("kind_2",), tuned={"kind_0": "t0_1"}, fixed=1)
STUDY = study(ASKED, draws=2000)


def measure_all() -> list[SavedArrays]:
    untuned = []
    for cell in cells(SURE, ASKED):
        ridge = -cell.test[0] * 0.5
        untuned.append(replace(cell, baselines=np.stack([ridge, ridge * 3, ridge * 4])))
    tuned = tuned_cells(World(gain=-0.5, harm=0.5, noise=0.02), SURE, ASKED)
    return [*untuned, *tuned, *doses(ASKED, 0.5, 0.2)]


@pytest.fixture(scope="module")
def measured() -> list[SavedArrays]:
    return measure_all()


@pytest.fixture(scope="module")
def packed(measured: list[SavedArrays], tmp_path_factory: pytest.TempPathFactory) -> list[ModelNumbers]:
    """Of every model, from its own measurements, through a file."""
    folder, found = tmp_path_factory.mktemp("numbers"), []
    for model in ("m3", "m0", "m1", "m2"):
        own = [saved for saved in measured if saved.where.model == model]
        numbers = measure_numbers(CellGrid(STUDY, ASKED, own))
        ModelNumbers.pack(numbers, own[0].where, "asked").save(folder / f"{model}.npz")
        found.append(ModelNumbers.load(folder / f"{model}.npz"))
    return found


@pytest.fixture(scope="module")
def whole(measured: list[SavedArrays]) -> SettingNumbers:
    return measure_numbers(CellGrid(STUDY, ASKED, measured))


@pytest.fixture(scope="module")
def joined(packed: list[ModelNumbers]) -> SettingNumbers:
    return join_models(SettingAxes(STUDY, ASKED), packed)


def test_numbers_of_models_that_were_packed_apart_are_those_of_all(
    whole: SettingNumbers, joined: SettingNumbers
) -> None:
    assert joined.tables.keys() == whole.tables.keys()
    for name, table in whole.tables.items():
        assert joined.tables[name].keys() == table.keys(), name
        for index, number in table.items():
            kept = joined.tables[name][index]
            assert (kept.prompts, kept.cells) == (number.prompts, number.cells)
            assert kept.value == number.value or np.isnan([kept.value, number.value]).all()
    assert sorted(joined.searches) == sorted(whole.searches)
    assert joined.measured == whole.measured == 4 * 7
    np.testing.assert_array_equal(joined.axes.parameters, whole.axes.parameters)
    assert joined.layers.keys() == whole.layers.keys()
    for index, layers in whole.layers.items():
        np.testing.assert_allclose(joined.layers[index], layers, rtol=1e-6)
    assert joined.examples == whole.examples


def test_kept_resamples_are_the_first_ones_moved_to_the_number(whole: SettingNumbers, joined: SettingNumbers) -> None:
    number, kept = whole.tables["log_ratio"][1, 0, 1], joined.tables["log_ratio"][1, 0, 1]
    assert number.resampled is not None
    assert kept.resampled is not None
    first = number.resampled[:KEPT_DRAWS]
    step = np.abs(first - first.mean()).max() / 127
    np.testing.assert_allclose(kept.resampled, first - first.mean() + number.value, atol=0.51 * step)
    assert kept.resampled.std() == pytest.approx(number.resampled.std(), rel=0.2)


def judge(numbers: SettingNumbers) -> SettingResult:
    return SettingAnalysis.of_numbers(numbers).to_result()


def test_the_study_is_judged_alike_from_cells_and_from_kept_numbers(
    whole: SettingNumbers, joined: SettingNumbers
) -> None:
    from_cells, from_numbers = judge(whole), judge(joined)
    for before, after in zip(from_cells.claims, from_numbers.claims, strict=True):
        assert (after.claim, after.decision) == (before.claim, before.decision)
        for one, other in zip(before.findings, after.findings, strict=True):
            if one.pooled is None or other.pooled is None:
                assert one.pooled is other.pooled
                continue
            assert other.pooled.value == pytest.approx(one.pooled.value, rel=1e-9)
            width = one.pooled.ci95[1] - one.pooled.ci95[0]
            room = 0.25 if one.unit == RANK_CORRELATION else 0.1
            assert other.pooled.ci95 == pytest.approx(one.pooled.ci95, abs=room * width + 1e-9)
    for name in ("skills", "computed", "measured", "tuned_measured", "doses_measured", "chance"):
        assert getattr(from_numbers, name) == getattr(from_cells, name)
    assert [row.truths for row in from_numbers.summaries] == [row.truths for row in from_cells.summaries]
    assert from_numbers.models == from_cells.models
    assert from_numbers.charts.scatter == from_cells.charts.scatter


def test_a_model_without_measurements_has_numbers_without_rows(tmp_path: Path) -> None:
    (reference,) = [cell for cell in cells(SURE, ASKED) if cell.where.kind == "id" and cell.where.model == "m0"]
    numbers = measure_numbers(CellGrid(STUDY, ASKED, [reference]))
    ModelNumbers.pack(numbers, reference.where, "asked").save(tmp_path / "m0.npz")
    again = join_models(SettingAxes(STUDY, ASKED), [ModelNumbers.load(tmp_path / "m0.npz")])
    assert list(again.tables["id_log_ratio"]) == [(0, 0, 0)]
    assert not again.layers
    assert not again.examples
    assert judge(again).models[0].complete == 0
