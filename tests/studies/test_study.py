"""A study of tiny learners: what is measured, that it goes on where it was, and what is refused."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from support.simulated_cells import analyse
from support.tiny_study import CLAIMS, STUDY

from tapioca.cli.main import main
from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.models.learner import Learner, learner_config
from tapioca.models.load import load
from tapioca.observe import capture_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.profiles import scale_to_unit_length, state_geometry
from tapioca.progress import NullProgress
from tapioca.runs.records import read_record
from tapioca.studies.analyse.log_ratios import PlanSet, search_cell
from tapioca.studies.cell import Cell, DoseResponse
from tapioca.studies.measure import model as study_model
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.model_numbers import ModelNumbers
from tapioca.studies.read import read_study
from tapioca.studies.results import Finding, StudyResult
from tapioca.studies.run import judge_and_write, list_parts
from tapioca.tasks.split import split as split_task

LAYERS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three learners of three layers that have learnt nothing, and a study of them."""
    base = tmp_path_factory.mktemp("study")
    for seed in range(3):
        torch.manual_seed(seed)
        Learner(learner_config(layers=LAYERS, width=16, heads=2)).save_pretrained(base / f"tiny_{seed}")
    write(base / "study.yaml", asked())
    return base


def asked(**changes: Any) -> dict[str, Any]:
    setting = {
        "name": "tiny",
        "title": "learners of nothing",
        "models": [f"tiny_{seed}" for seed in range(3)],
        "id": "lab:id",
        "fixed": 0,
        "shifts": {
            "target_offset": ["lab:target_offset=1", "lab:target_offset=3"],
            "rule_offset": ["lab:rule_offset=1"],
        },
        "controls": ["rule_offset"],
        "tuned": {"target_offset": "lab:target_offset=2"},
    }
    study = {
        **STUDY,
        "title": "A tiny study",
        "min_models": 3,
        "settings": [setting],
    }
    return {**study, **changes}


def write(path: Path, study: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(study))
    return path


@pytest.fixture(scope="module")
def part(folder: Path) -> ModelWork:
    """The first model, measured."""
    study = read_study(folder / "study.yaml")
    found = ModelWork(study, study.settings[0], 0, folder, folder / "out")
    assert list(found.measure()) == list(found.files)
    return found


def cell(part: ModelWork, name: str) -> Cell:
    return Cell.load(part.folder / f"{name}.npz")


def test_every_plan_is_scored_as_evaluate_scores_it(part: ModelWork) -> None:
    found = cell(part, "target_offset-1")
    assert found.kept.shape == (7, LAYERS)
    assert found.kept[0].all()
    assert found.search.shape[1] + found.test.shape[1] == 32
    bench = part.load_study_model()
    plans = [Plan.drop(LAYERS, np.flatnonzero(~row).tolist()) for row in found.kept]
    for split, scores in zip(bench.tasks["target_offset", 1], (found.search, found.test), strict=True):
        np.testing.assert_allclose(evaluate(bench.loaded.model, split, plans).values, scores, rtol=1e-5)


def test_the_geometry_is_that_of_the_search_examples(part: ModelWork) -> None:
    """Signed ratios, deviation and realignment from the states of the plans alone."""
    found, bench = cell(part, "target_offset-1"), part.load_study_model()
    model = bench.loaded.model
    search, reference = bench.tasks["target_offset", 1][0], bench.tasks["id", 0][0]
    size = min(len(search.examples), len(reference.examples), len(bench.tasks["id", 0][1].examples))
    seen = draw_sample(search.examples, size, 1)
    against = capture_states(model, Plan.full(LAYERS), draw_sample(reference.examples, size, 1))

    def compare(ood: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.log(state_geometry(ood).profiles()[:, 0] / state_geometry(base).profiles()[:, 0])

    def ratios(plan: Plan) -> np.ndarray:
        return compare(capture_states(model, plan, seen), against[list(plan.kept)])

    full = ratios(Plan.full(LAYERS))
    np.testing.assert_allclose(found.signed, full, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.deviation[:, 0], np.abs(full).mean(axis=1), rtol=1e-4, atol=1e-6)
    for at, row in enumerate(found.kept):
        plan = Plan.drop(LAYERS, np.flatnonzero(~row).tolist())
        gone = np.abs(full[:, plan.kept]).mean(axis=1) - np.abs(ratios(plan)).mean(axis=1)
        np.testing.assert_allclose(found.realigned[0, :, at], gone, rtol=1e-3, atol=1e-5)
        before, after = (capture_states(model, this, seen) for this in (Plan.full(LAYERS), plan))
        moved = capture_states(model, plan, draw_sample(reference.examples, size, 1))
        for row, to_length in ((0, lambda states: states), (2, scale_to_unit_length)):
            old = compare(to_length(before[list(plan.kept)]), to_length(against[list(plan.kept)]))
            for place, base in ((row, against[list(plan.kept)]), (row + 1, moved)):
                new = compare(to_length(after), to_length(base))
                gone = np.abs(old).mean(axis=1) - np.abs(new).mean(axis=1)
                np.testing.assert_allclose(found.realigned[place, :, at], gone, rtol=1e-3, atol=1e-5)
    without = np.abs(ratios(Plan.drop(LAYERS, [0]))).mean(axis=1)
    np.testing.assert_allclose(found.removal[:, 0], np.abs(full[:, 1:]).mean(axis=1) - without, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(cell(part, "id-0").deviation, 0)


def test_doses_begin_with_the_plan_and_end_with_every_layer(part: ModelWork) -> None:
    found, measured = DoseResponse.load(part.folder / "target_offset-dose.npz"), cell(part, "target_offset-0")
    assert found.layers.shape == (3, LAYERS)
    assert found.layers[-1].all()
    assert found.layers[0].sum() == found.layers[1].sum()
    assert (found.layers[0] != found.layers[1]).any()
    whole = found.scales == 1
    for row in found.test[:, whole][:, 0]:
        np.testing.assert_allclose(row, measured.test[0], rtol=1e-5)
    chosen = np.flatnonzero((measured.kept != found.layers[0]).all(axis=1))
    np.testing.assert_allclose(found.test[0, 0], measured.test[chosen[0]], rtol=1e-5)
    assert np.isnan(found.test[-1, 0]).all()
    assert not np.isnan(found.test[-1, 1:]).any()
    np.testing.assert_allclose(found.deviation[-1, whole][0], measured.deviation[:, 0], rtol=1e-4, atol=1e-6)


def test_tuned_models_swap_what_is_id_data(part: ModelWork) -> None:
    """The control, tuned on ID data, serves every kind."""
    files = ("tuned-target_offset/id-0", "tuned-target_offset/target_offset-0", "tuned-id/target_offset-0")
    keys = [cell(part, name).where for name in files]
    assert [(where.tuned, where.task) for where in keys] == [
        ("shift", "lab:target_offset=2"),
        ("shift", "lab:id"),
        ("id", "lab:target_offset=2"),
    ]
    assert {where.tuned_on for where in keys} == {"target_offset"}
    (found,) = (part.folder / "tuned-target_offset").glob("model-*")
    tuned = load(str(found)).model
    assert any(
        (a != b).any() for a, b in zip(tuned.parameters(), load(str(part.model)).model.parameters(), strict=True)
    )


def test_prompts_of_two_models_differ(part: ModelWork) -> None:
    other = ModelWork(part.study, part.setting, 1, part.base, part.out).load_study_model()
    mine = part.load_study_model()
    assert not {e.content for e in mine.tasks["id", 0][0].examples} & {
        e.content for e in other.tasks["id", 0][0].examples
    }


def test_a_shift_that_changes_nothing_is_refused(part: ModelWork) -> None:
    setting = part.setting.model_copy(update={"shifts": {"none": ("lab:id",)}, "controls": (), "tuned": {}})
    with pytest.raises(DataError, match=r"holds the same rows as lab:id.*; ID and OOD data must differ"):
        _ = replace(part, setting=setting).load_study_model().tasks


def test_test_prompts_that_a_search_has_seen_are_refused(part: ModelWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_model, "split", lambda task, groups: (task, split_task(task, groups)[1]))
    with pytest.raises(DataError, match=r"test rows of lab:.* stand among the search rows of lab:"):
        _ = part.load_study_model().tasks


def test_what_a_study_says_of_itself_measures_nothing_anew(part: ModelWork) -> None:
    other = part.study.model_copy(update={"title": "Another", "amended": ("A margin was doubled.",)})
    at, keys = ("target_offset", 0), []
    for study in (part.study, other, other.model_copy(update={"seed": 8})):
        keys.append(replace(part, study=study).load_study_model().cell_fingerprint(at))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("content", [b"", b"PK of nothing"])
def test_what_is_measured_is_kept_and_what_changed_or_broke_is_measured_anew(part: ModelWork, content: bytes) -> None:
    times = {path: path.stat().st_mtime_ns for path in part.files}
    list(part.measure())
    assert times == {path: path.stat().st_mtime_ns for path in part.files}
    broken, other = part.folder / "target_offset-0.npz", part.folder / "rule_offset-0.npz"
    before = Cell.load(broken).test
    broken.write_bytes(content)
    part.numbers_file.unlink()
    found = Cell.load(other)
    stale = type(found)(where=type(found.where)(**{**vars(found.where), "key": "of something else"}), **arrays(found))
    stale.save(other)
    list(part.measure())
    np.testing.assert_array_equal(Cell.load(broken).test, before)
    assert Cell.load(other).where.key == found.where.key
    untouched = set(part.files) - {broken, other}
    assert all(times[path] == path.stat().st_mtime_ns for path in untouched)


def arrays(found: Cell) -> dict[str, np.ndarray]:
    return {name: value for name, value in vars(found).items() if name != "where"}


def test_what_is_not_measured_yet_is_counted(part: ModelWork, folder: Path) -> None:
    """One model of three: everything is said, and nothing decided."""
    info = judge_and_write(
        part.study, [ModelNumbers.load(part.numbers_file)], folder / "out", "tapioca study study.yaml"
    )
    assert read_record(StudyResult, folder / "out", "study.json", "study") == info
    assert main(["report", str(folder / "out")]) == 0
    tiny = info.settings[0]
    assert (tiny.measured, tiny.missing, tiny.doses_measured, tiny.doses_missing) == (4, 8, 1, 2)
    assert {claim.decision for claim in info.settings[0].claims} == {"inconclusive"}
    assert "A tiny study" in (folder / "out" / "report.html").read_text()


@pytest.mark.slow
def test_the_command_runs_in_processes_and_says_who_is_left_out(
    folder: Path, part: ModelWork, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third model is not there; the first is measured already."""
    study = asked()
    study["settings"][0]["models"][2] = "gone"
    path = write(folder / "two.yaml", study)
    code = main(["study", str(path), "--out", str(part.out), "--workers", "2"])
    said = " ".join(capsys.readouterr().out.split())
    assert code == 0
    assert "gone is left out" in said
    assert "tiny: 8 cells measured, 4 missing" in said
    found = json.loads((part.out / "study.json").read_text())
    assert [model["parameters"] for model in found["settings"][0]["models"]][2] is None
    assert found["seconds"] > 0


def test_a_model_tuned_otherwise_is_tuned_anew(part: ModelWork) -> None:
    """Its folder is named after all that the tuning depends on."""
    longer = part.study.model_copy(update={"tuning": part.study.tuning.model_copy(update={"steps": 3})})
    list(ModelWork(longer, part.setting, 0, part.base, part.out).measure())
    made = sorted((part.folder / "tuned-id").glob("model-*/training.json"))
    assert sorted(json.loads(path.read_text())["config"]["steps"] for path in made) == [2, 3]
    list(part.measure())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scales": [0, 0.5]}, "scales must rise and hold 1"),
        ({"scales": [1, 0.5]}, "scales must rise and hold 1"),
        ({"settings": asked()["settings"] * 2}, "are called tiny"),
        ({"search": 2}, "search"),
        ({"surprise": 1}, "surprise"),
        ({"claims": "nowhere.yaml"}, "cannot read .*nowhere.yaml: No such file or directory; expected YAML"),
        ({"settings": []}, "settings"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        read_study(write(tmp_path / "wrong.yaml", asked(**changes)))
    assert "\n" not in str(error.value)


def test_an_unknown_control_is_refused(tmp_path: Path) -> None:
    study = asked()
    study["settings"][0]["controls"] = ["target_ofset"]
    with pytest.raises(UsageError, match="'target_ofset' is none of the shifts"):
        read_study(write(tmp_path / "wrong.yaml", study))


def test_a_text_is_no_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.yaml"
    path.write_text("just words")
    assert main(["study", str(path)]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_the_committed_studies_can_be_read() -> None:
    whole, quick = read_study(CLAIMS), read_study(CLAIMS.parent / "quick.yaml")
    assert whole.claims == quick.claims
    assert set(whole.claims) == {f"C{at}" for at in range(1, 10)}
    lab = whole.settings[0]
    assert len(lab.models) == 12
    assert len(lab.shifts) - len(lab.controls) == 12
    assert all(len(tasks) == 5 for tasks in lab.shifts.values())


def test_scaled_answers_are_judged_on_prompts_they_were_not_fitted_on(
    part: ModelWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(CLAIMS.parent))
    script = importlib.import_module("scaled_outputs")
    found, bench = cell(part, "target_offset-1"), part.load_study_model()
    said = {name: values[0] for name, values in script.measure_task(bench, found, 10).items()}
    plans, (search, test) = PlanSet(found.kept), bench.tasks["target_offset", 1]
    scales, errors, means = {}, {}, []
    for plan in plans.plans:
        outputs = script.Outputs.run(bench, search, plan)
        (scales[plan],) = np.linalg.lstsq(predicted(outputs)[:, None], targets(outputs), rcond=None)[0]
        means.append(-np.mean(np.square(scales[plan] * predicted(outputs) - targets(outputs))))
        outputs = script.Outputs.run(bench, test, plan)
        errors[plan] = np.mean(np.square(scales[plan] * predicted(outputs) - targets(outputs)))
    full, best = plans.plans[0], search_cell(plans, found).best
    pruned, scaled = np.log(-found.test[0].mean() / np.array([-found.test[best].mean(), errors[full]]))
    both, joint = plans.plans[best], plans.run_greedy(np.array(means)).best.plan
    assert said == pytest.approx(
        {
            "pruned": pruned,
            "scaled": scaled,
            "ahead": scaled - pruned,
            "both": np.log(errors[full] / errors[both]),
            "joint": np.log(errors[full] / errors[joint]),
            "above_1": scales[full] - 1,
        },
        rel=1e-4,
        abs=1e-4,
    )


def test_scaled_answers_are_summed_up_as_in_the_study(part: ModelWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CLAIMS.parent))
    script = importlib.import_module("scaled_outputs")
    tables = script.measure_all(part.study, part.setting, [part], Console(quiet=True))
    said = script.summarise_tables(part.study, part.setting, tables)
    cells = [Cell.load(path) for path, kind in part.files.items() if kind is Cell]
    (setting,) = analyse(part.study, cells).settings
    (claim,) = (found for found in setting.claims if found.claim == "C2")
    assert said["pruned"].pooled is not None
    expected = claim.findings[0].pooled
    assert expected is not None
    found = said["pruned"].pooled.model_dump()
    assert found.pop("ci95") == pytest.approx(expected.ci95, rel=1e-4)
    assert found == pytest.approx(expected.model_dump(exclude={"ci95"}), rel=1e-4)
    assert [row.kind for row in said["joint"].kinds] == ["target_offset"]
    assert [row.kind for row in said["joint"].controls] == ["rule_offset"]
    for kind in ("target_offset", "rule_offset"):
        pruned, scaled, ahead = (of_kind(said[name], kind) for name in ("pruned", "scaled", "ahead"))
        assert ahead == pytest.approx(scaled - pruned, abs=1e-9)


def of_kind(finding: Finding, kind: str) -> float:
    """The mean of one kind of shift."""
    return next(row.value.value for row in (*finding.kinds, *finding.controls) if row.kind == kind)


def predicted(outputs: Any) -> np.ndarray:
    """The answers of all points that are scored, in one row."""
    return outputs.logits[:, ::2, 0].double().numpy().ravel()


def targets(outputs: Any) -> np.ndarray:
    """The right answers of all points that are scored, in one row."""
    return np.array([example.rows[0].targets for example in outputs.task.examples]).ravel()


def test_a_model_that_is_not_there_is_judged_by_its_numbers(part: ModelWork, tmp_path: Path) -> None:
    """Measured elsewhere, and only if the study still asks the same."""
    shutil.copytree(part.out, tmp_path / "out", ignore=shutil.ignore_patterns("tiny_0"))
    notes: list[str] = []
    watcher = NullProgress()
    watcher.note = notes.append  # type: ignore[method-assign]
    (known,) = list_parts(part.study, tmp_path, tmp_path / "out", watcher)
    assert (known.place, list(known.measure())) == (0, list(known.files))
    assert not known.folder.exists()
    gone = tmp_path / "tiny_0" / "config.json"
    assert notes[0] == f"tiny: tiny_0 is taken from {tmp_path / 'out/tiny/tiny_0.npz'}, there is no {gone}"
    assert [note.split(",")[0] for note in notes[1:]] == [f"tiny: tiny_{place} is left out" for place in (1, 2)]
    other = part.study.model_copy(update={"seed": 8})
    notes.clear()
    assert not list_parts(other, tmp_path, tmp_path / "out", watcher)
    assert notes[0] == f"tiny: tiny_0 is left out, and its numbers are damaged or of another study, there is no {gone}"


def test_numbers_are_made_anew_where_the_model_is_another(part: ModelWork) -> None:
    numbers, before = ModelNumbers.load(part.numbers_file), part.numbers_file.stat().st_mtime_ns
    list(part.measure())
    assert part.numbers_file.stat().st_mtime_ns == before
    stale = replace(numbers, where=replace(numbers.where, key="of other weights"))
    stale.save(part.numbers_file)
    list(part.measure())
    assert ModelNumbers.load(part.numbers_file).where == numbers.where
