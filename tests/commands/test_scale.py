"""Residual scaling end to end on the packaged learner and on a small language model."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from support.figures import check_figures
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.run import prune
from tapioca.commands.scale.config import ScaleConfig
from tapioca.commands.scale.result import ScaleResult
from tapioca.commands.scale.run import scale
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.models.tiny import tiny
from tapioca.observe import capture_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.deviation import mean_deviation
from tapioca.profiles.profiles import state_geometry
from tapioca.runs.records import read_record
from tapioca.tasks.split import search_groups, split

TASK, REFERENCE = "lab:context_noise=0.2,n=120", "lab:id,n=120"
PLAN = Plan.drop(8, [2, 4, 5])
ALPHAS = "0:2:0.5"


def request(out: Path, **fields: object) -> ScaleConfig:
    said: dict = {"model": "learner", "task": TASK, "reference": REFERENCE, "plan": PLAN.to_json(), "scales": ALPHAS}
    return ScaleConfig(**{**said, "random_sets": 3, "batch_size": 30, "out": out, **fields})


@pytest.fixture(scope="module", autouse=True)
def _few_resamples() -> Iterator[None]:
    """Intervals of gains have tests of their own; here they need not be fine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tapioca.stats.resampling.RESAMPLES", 199)
        yield


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the command, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    said = ["--plan", PLAN.to_json(), "--scales", ALPHAS, "--random-sets", "3", "--batch-size", "30"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["scale", "learner", "--task", TASK, "--reference", REFERENCE, *said, "--out", str(folder)]) == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def info(screen: tuple[Path, str]) -> ScaleResult:
    return read_record(ScaleResult, screen[0], "scale.json", "scale")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load(PACKAGED["learner"])


def test_the_ends_are_the_plan_and_the_full_model_bit_for_bit(info: ScaleResult, loaded: LoadedModel) -> None:
    first, _, whole, *_ = info.chosen.doses
    assert (first.scale, first.plan) == (0.0, PLAN)
    assert (whole.scale, whole.plan) == (1.0, Plan.full(8))
    task = load_lab_task(TASK)
    _, test = split(task, search_groups([task.examples, load_lab_task(REFERENCE).examples], 0.5, 0))
    full, planned = (evaluate(loaded.model, test, [plan], batch_size=30).values[0] for plan in (Plan.full(8), PLAN))
    assert first.gain == test.pairing(0).compare(full, planned)
    assert first.gain.planned == planned.mean()
    assert whole.score.value == pytest.approx(full.mean(), rel=1e-12)
    assert whole.gain.gain == 0
    assert info.every.doses[1].gain == whole.gain


def test_every_scale_is_that_of_the_layer_update(info: ScaleResult, loaded: LoadedModel) -> None:
    """0.5 is half of each update, on OOD and on ID data."""
    half = Plan.scale(8, dict.fromkeys([2, 4, 5], 0.5))
    assert [dose.plan for dose in info.chosen.doses][1] == half
    assert [dose.scale for dose in info.every.doses] == [0.5, 1.0, 1.5, 2.0]  # all layers cannot be dropped
    data = [load_lab_task(TASK), load_lab_task(REFERENCE)]
    _, test = split(data[1], search_groups([task.examples for task in data], 0.5, 0))
    scores = evaluate(loaded.model, test, [half], batch_size=30).values[0]
    assert info.chosen.doses[1].id_gain is not None
    assert info.chosen.doses[1].id_gain.planned == scores.mean()


def test_deviations_are_over_the_layers_kept_at_0(info: ScaleResult, loaded: LoadedModel) -> None:
    kept = [0, 1, 3, 6, 7]
    assert info.chosen.layers == tuple(kept)
    assert info.every.layers == tuple(range(8))
    data = [load_lab_task(TASK), load_lab_task(REFERENCE)]
    groups = search_groups([task.examples for task in data], 0.5, 0)
    seen = draw_sample(split(data[0], groups)[1].examples, 60, 0)
    against = draw_sample(split(data[1], groups)[0].examples, 60, 0)
    reference = state_geometry(capture_states(loaded.model, Plan.full(8), against, 30)[kept])
    for dose in info.chosen.doses:
        found = capture_states(loaded.model, dose.plan, seen, 30)
        under = state_geometry(found if dose.scale == 0 else found[kept])
        norm, distance = (mean_deviation(a, b)[0] for a, b in zip(under.profiles(), reference.profiles(), strict=True))
        assert dose.norm is not None
        assert dose.distance is not None
        assert (dose.norm.value, dose.distance.value) == pytest.approx((norm, distance), rel=1e-9)
        assert dose.norm.ci95[0] <= dose.norm.value <= dose.norm.ci95[1]
    assert set(info.null) == {"norm", "distance"}
    assert info.observed == 60


def test_random_sets_are_as_large_and_judged_at_every_scale(info: ScaleResult) -> None:
    sets = [draw.drops for draw in info.random_sets]
    assert len(set(sets) - {PLAN}) == 3
    assert all(len(drops.drops) == 3 for drops in sets)
    whole = info.chosen.doses[2]
    for draw in info.random_sets:
        assert len(draw.score) == len(draw.norm) == len(draw.distance) == 5
        assert draw.score[2] == pytest.approx(whole.score.value, rel=1e-12)


def test_trends_are_those_of_the_curve(info: ScaleResult) -> None:
    """By hand: ranks of the scores shown, and of the random sets', up to the full model."""
    low, high = info.chosen.find_trend("alpha", "score", 1.0), info.chosen.find_trend("alpha", "score", 2.0)
    assert low is not None
    assert high is not None
    ranks = np.argsort(np.argsort([dose.score.value for dose in info.chosen.doses[:3]]))
    by_hand = 1 - 6 * ((ranks - np.arange(3)) ** 2).sum() / (3 * 8)
    assert low.rho == pytest.approx(by_hand)
    assert low.ci95[0] <= low.rho <= low.ci95[1]
    assert (low.first, high.last) == (0.0, 2.0)
    signed = [np.corrcoef(np.argsort(np.argsort(draw.score[:3])), np.arange(3))[0, 1] for draw in info.random_sets]
    as_strong = sum(np.sign(low.rho) * rho >= abs(low.rho) - 1e-9 for rho in signed)
    assert low.as_strong == pytest.approx((as_strong + 1) / 4)
    assert {(t.x, t.y) for t in info.chosen.trends} == {
        ("alpha", "score"), ("alpha", "norm"), ("alpha", "distance"), ("score", "norm"), ("score", "distance"),
    }  # fmt: skip
    assert all(trend.as_strong is None for trend in info.every.trends)
    change = info.chosen.changes[0]
    doses = info.chosen.doses
    assert change.value == pytest.approx(doses[0].score.value - doses[2].score.value)


def test_the_folder_and_the_page(info: ScaleResult) -> None:
    names = {path.name for path in info.folder.iterdir()} - {"run.sqlite-wal", "run.sqlite-shm"}
    assert names == {"manifest.json", "run.sqlite", "scale.json", "report.html"}
    page = (info.folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "scales of layers 2, 4–5" in page
    for outside in ("<script", "<link", "@import", "src=", "NaN"):
        assert outside not in page


def test_one_sweep_a_batch_and_none_when_asked_again(
    info: ScaleResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All scales of all sets run together; stopped in the middle, the same command goes on."""
    from tapioca.evaluate import batch as module

    sweep, asked = module.sweep, []

    def stop(model, plans, *args):  # type: ignore[no-untyped-def]
        asked.append(len(plans))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return sweep(model, plans, *args)

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", stop)
    with pytest.raises(KeyboardInterrupt):
        scale(request(tmp_path / "run"))
    assert asked[:2] == [1 + 4 + 3 + 3 * 4] * 2  # full model, chosen, all layers, three sets; two batches of OOD data
    again = scale(request(tmp_path / "run"))
    assert asked[3:] == [1 + 4 + 3] * 2  # ID data alone
    assert (again.chosen, again.every, again.random_sets) == (info.chosen, info.every, info.random_sets)
    asked.clear()
    scale(request(info.folder))
    assert not asked


def test_a_plan_file_and_another_split_of_its_data(info: ScaleResult, tmp_path: Path) -> None:
    """The manifest names the plan itself; a plan is not judged on what its search saw."""
    said: dict = {"model": "learner", "task": TASK, "batch_size": 30}
    few: dict = {"reference": None, "random_sets": 0, "scales": "0,0.5,1"}
    run = prune(PruneConfig(**said, max_drops=1, out=tmp_path / "search"))
    path = run.folder / "plan.json"
    found = scale(request(tmp_path / "a", plan=str(path), **few))
    assert found.chosen.drops == run.plan
    assert not any("is not known" in note for note in found.notes)
    assert any("comes from no run folder" in note for note in info.notes)
    with pytest.raises(tapioca.TapiocaError, match=r"split these data with --seed 0 --search-share 0.5; use the same"):
        scale(request(tmp_path / "b", plan=str(path), seed=1, **few))
    other = scale(request(tmp_path / "c", plan=str(path), task="lab:context_noise=0.3,n=120", **few))
    assert any("searched on other data" in note for note in other.notes)


def test_a_live_model_branches_and_no_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Branches of a plan are scaled as branches; without ID data there are no deviations, and that is said."""
    task = write_lines(tmp_path / "ood.jsonl", choice_rows(80))
    plan = Plan.scale(4, {1: 0.0}, "mlp")
    found = tapioca.scale(
        tiny("llama"), word_tokenizer(), plan=plan, scales=[0, 0.5, 1], task=task, random_sets=9, progress=False,
        score="likelihood", out=tmp_path / "run",
    )  # fmt: skip
    assert [dose.plan for dose in found.chosen.doses] == [plan, Plan.scale(4, {1: 0.5}, "mlp"), Plan.full(4)]
    assert found.every.drops.sizes == {"layers": 0, "attention": 0, "mlp": 4}
    assert [dose.scale for dose in found.every.doses] == [0.0, 0.5, 1.0]
    assert [draw.drops.sizes["mlp"] for draw in found.random_sets] == [1] * 3  # there are no more
    assert any("only 3 other sets" in note for note in found.notes)
    assert any("no --reference" in note for note in found.notes)
    assert (found.observed, found.null, found.chosen.doses[0].norm) == (0, {}, None)
    assert {(t.y, t.last) for t in found.chosen.trends} == {("score", 1.0)}
    assert read_record(ScaleResult, found.folder, "scale.json", "scale") == found
    assert (found.folder / "report.html").read_text().count("<svg") == 1
    assert main(["report", str(found.folder)]) == 0
    assert "No --reference, so no deviations" in capsys.readouterr().out


FULL, SCALED = Plan.full(8).to_json(), Plan.scale(8, {1: 0.0, 2: 0.5}).to_json()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scales", "0-2"], "--scales 0-2: expected FIRST:LAST:STEP or values with commas, for instance 0:2:0.1"),
        (["--scales", "0:2"], "--scales 0:2: expected FIRST:LAST:STEP"),
        (["--scales", "0:2:0"], "--scales 0:2:0: expected FIRST:LAST:STEP"),
        (["--scales", "0,nan,1"], "--scales 0,nan,1: expected FIRST:LAST:STEP"),
        (["--scales=-1:2:0.5"], "--scales -1:2:0.5: a scale is a number >= 0, got -1; begin at 0 or above"),
        (["--scales", "0:2:0.3"], "--scales 0:2:0.3: 1, the full model, with which the others are compared, is not"),
        (["--scales", "0,1"], "--scales 0,1: expected 3 to 201 different values, got 2"),
        (["--scales", "0:2:0.0001"], "--scales 0:2:0.0001: expected 3 to 201 different values, got 202"),
        (["--plan", FULL], "it drops nothing (full model), so there is nothing to scale; give a plan of drops"),
        (["--plan", SCALED], "it scales layers itself (drop 1, 2×0.5), and at 1 the model must be as it came"),
        (["--plan", Plan.drop(4, [1]).to_json()], "the plan is for a model of 4 layers, this one has 8"),
        (["--plan", "nowhere.json"], "cannot read nowhere.json: No such file or directory"),
        (["--random-plans", "3"], "No such option: --random-plans"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--task", "lab:target_offset=2,n=40", "--plan", PLAN.to_json(), "--out", str(tmp_path / "run"), *more]
    code = main(["scale", "learner", *said])
    _, err = capsys.readouterr()
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_an_unknown_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["scale", str(tmp_path / "none"), "--task", TASK, "--plan", PLAN.to_json(), "--out", str(tmp_path / "r")]
    )
    _, err = capsys.readouterr()
    assert code == 2
    assert str(tmp_path / "none") in err
    assert err.count("\n") == 1


def test_the_screen(
    screen: tuple[Path, str], info: ScaleResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out = screen
    assert "layers 2, 4–5: at 0 drop 2, 4–5, at 1 the full model" in out
    firsts = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [first for first in firsts if first in ("0", "0.5", "1", "1.5", "2")] == ["0", "0.5", "1", "1.5", "2"]
    assert "α and norm deviation" in out
    (info.folder / "report.html").unlink()
    assert main(["report", str(info.folder)]) == 0
    again, _ = capsys.readouterr()
    assert again.strip() == out[out.index("· OOD (out of distribution): lab:context_noise") :].strip()
    assert (info.folder / "report.html").is_file()
    assert main(["report", str(info.folder), "--figures", str(tmp_path / "figures")]) == 0
    check_figures(tmp_path / "figures", ("response", "together"))
