"""All commands observe one sample, and hold deviations against one null."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tapioca
from tapioca.profiles.deviation import measure_null
from tapioca.profiles.profiles import StateGeometry
from tapioca.studies.cell import CellKey
from tapioca.studies.measure.cells import measure_cell
from tapioca.studies.measure.model import StudyModel
from tapioca.studies.read import read_study

ID, OOD = "lab:id", "lab:context_noise=0.2"
STUDY = Path(__file__).parents[2] / "studies" / "quick.yaml"
N = 64
PROMPTS = f",n={2 * N},seed=0"


@pytest.fixture(scope="module")
def session() -> tapioca.Session:
    return tapioca.Session("learner", task=OOD + PROMPTS, reference=ID + PROMPTS, batch_size=N, progress=False)


@pytest.mark.slow
def test_every_command_prints_the_same_null(session: tapioca.Session, tmp_path: Path) -> None:
    """Over all layers of one model, data and seed: of geometry, prune, scale and diagnose."""
    geometry = session.geometry(out=tmp_path / "geometry")
    pruned = session.prune(out=tmp_path / "prune", criterion="last", max_drops=1, random_plans=0)
    kept = session.geometry(out=tmp_path / "kept", plan=pruned.shown)
    scaled = session.scale(out=tmp_path / "scale", plan=pruned.shown, scales=[0, 0.5, 1], random_sets=0)
    excess = session.diagnose(out=tmp_path / "diagnose").excess
    for kind in ("norm", "distance"):
        full = geometry.find_deviation(kind).deviation
        null_of_diagnosis = full.value / 10 ** excess[f"last_{kind}_excess"]  # a higher percentile of the same halves
        assert full.null_upper < null_of_diagnosis < 1.5 * full.null_upper
        [same] = {deviation.null_upper for deviation in pruned.deviations if deviation.kind == kind}
        assert scaled.null[kind] == same
        assert {each.deviation.null_upper for each in kept.kept if each.deviation.kind == kind} == {same}


@pytest.mark.slow
def test_a_study_has_the_same_null(session: tapioca.Session, tmp_path: Path) -> None:
    geometry = session.geometry(out=tmp_path / "geometry")
    study = read_study(STUDY).model_copy(update={"search": N, "test": N, "batch_size": N, "seed": 0})
    names = {("id", 0): ID, ("context_noise", 0): OOD}
    bench = StudyModel(study, "learner", session.inputs.loaded, names, 0)
    cell = measure_cell(bench, CellKey("quick", "learner", 0, "context_noise", 0, OOD))
    for index, kind in enumerate(("norm", "distance")):
        expected = geometry.find_deviation(kind).deviation.null_upper  # type: ignore[arg-type]
        assert cell.null_upper[index] == pytest.approx(expected, rel=1e-5)


def test_the_null_of_a_pool_is_drawn_once(
    session: tapioca.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def count(pool: StateGeometry, seed: object) -> np.ndarray:
        drawn.append(len(pool.norms))
        return measure_null(pool, seed)  # type: ignore[arg-type]

    monkeypatch.setattr("tapioca.profiles.deviation.measure_null", count)
    plan = session.prune(out=tmp_path / "prune", criterion="last", max_drops=1, random_plans=0).shown
    assert drawn == [7]
    session.geometry(out=tmp_path / "geometry", plan=plan)
    assert drawn == [7, 8, 7]  # over all layers, and over those the plan keeps


def test_every_command_observes_as_many_examples(session: tapioca.Session, tmp_path: Path) -> None:
    plans = session.enumerate(out=tmp_path / "enumerate", max_drops=1)
    assert plans.sample == session.diagnose(out=tmp_path / "diagnose").n
