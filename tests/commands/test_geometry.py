"""The profile end to end on the packaged learner and on a small language model; numbers against direct computation."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from support.figures import check_figures
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.geometry.config import GeometryConfig
from tapioca.commands.geometry.result import GeometryResult
from tapioca.commands.geometry.run import measure_geometry
from tapioca.commands.geometry.tables import explain_profile, find_carrying_layers
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.run import prune
from tapioca.errors import ModelError, UsageError
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.models.tiny import tiny
from tapioca.observe import MAX_EXAMPLES, capture_states, draw_sample
from tapioca.plan import Plan
from tapioca.profiles.spread import effective_rank
from tapioca.progress import SILENT
from tapioca.records import Estimate, signed
from tapioca.records.results import Domain
from tapioca.runs.records import read_record
from tapioca.session.context import load_inputs
from tapioca.tasks.split import search_groups, split

TASK, REFERENCE = "lab:context_noise=0.2,n=120", "lab:id,n=120"
PLAN = Plan.drop(8, [2, 4])


def request(out: Path, **fields: object) -> GeometryConfig:
    settings: dict = {"model": "learner", "task": TASK, "reference": REFERENCE, "batch_size": 60, "out": out}
    return GeometryConfig(**{**settings, **fields})


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the command, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    (folder.parent / "plan.json").write_text(PLAN.to_json())
    plan = ["--plan", str(folder.parent / "plan.json"), "--out", str(folder)]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["geometry", "learner", "--task", TASK, "--reference", REFERENCE, "--batch-size", "60", *plan]) == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def info(screen: tuple[Path, str]) -> GeometryResult:
    return read_record(GeometryResult, screen[0], "geometry.json", "geometry")


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    """The states that the profile must have seen: reference from ID search data, the others held out."""
    tasks = {"id": load_lab_task(REFERENCE), "ood": load_lab_task(TASK)}
    groups = search_groups([task.examples for task in (tasks["ood"], tasks["id"])], 0.5, 0)
    model = load(PACKAGED["learner"]).model
    search, test = split(tasks["id"], groups)
    chosen = {"reference": search, "id": test, "ood": split(tasks["ood"], groups)[1]}
    samples = {name: draw_sample(task.examples, MAX_EXAMPLES, 0) for name, task in chosen.items()}
    found = {name: capture_states(model, Plan.full(8), examples, 60) for name, examples in samples.items()}
    return found | {f"{name} planned": capture_states(model, PLAN, examples, 60) for name, examples in samples.items()}


def norms(found: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found.astype(float), axis=2).mean(1)


def distances(found: np.ndarray) -> np.ndarray:
    return np.array([pdist(layer.astype(float)).mean() for layer in found])


def off(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(np.log(found / reference)).mean())


@pytest.mark.parametrize("data", ["id", "ood"])
@pytest.mark.parametrize("planned", [False, True])
def test_profiles_are_those_of_the_states(
    info: GeometryResult, seen: dict[str, np.ndarray], data: Domain, planned: bool
) -> None:
    found, view = seen[data + (" planned" if planned else "")], info.find_view(data, planned)
    assert info.n == view.profile.n == found.shape[1]
    assert view.profile.layers == (PLAN.kept if planned else tuple(range(8)))
    assert view.profile.norm == pytest.approx(norms(found))
    assert view.profile.distance == pytest.approx(distances(found))
    assert view.measures.effective_rank == pytest.approx(effective_rank(found))
    assert (view.measures.cka is None) == (not planned)


def test_deviations_are_those_of_the_profiles(info: GeometryResult, seen: dict[str, np.ndarray]) -> None:
    for data in ("id", "ood"):
        assert info.find_deviation("norm", data).deviation.value == pytest.approx(
            off(norms(seen[data]), norms(seen["reference"]))
        )
        distance = info.find_deviation("distance", data).deviation.value
        assert distance == pytest.approx(off(distances(seen[data]), distances(seen["reference"])))
    kept = seen["reference"][list(PLAN.kept)]
    after = {(one.deviation.data, one.deviation.kind): one for one in info.kept if one.deviation.planned}
    assert after["ood", "norm"].deviation.value == pytest.approx(off(norms(seen["ood planned"]), norms(kept)))
    assert after["id", "distance"].deviation.value == pytest.approx(off(distances(seen["id planned"]), distances(kept)))


def test_a_permutation_keeps_what_was_observed(info: GeometryResult) -> None:
    for one in (*info.deviations, *info.kept):
        assert one.permuted.value == pytest.approx(one.deviation.value)
        assert 0.001 <= one.permuted.p <= 1
        assert one.mean_abs_effect == pytest.approx(np.abs(one.deviation.effect).mean())


def test_realignment_is_the_difference(info: GeometryResult) -> None:
    value = {(o.deviation.data, o.deviation.kind, o.deviation.planned): o.deviation.value for o in info.kept}
    assert len(value) == 8
    for one in info.realigned:
        assert one.ood.value == pytest.approx(value["ood", one.kind, False] - value["ood", one.kind, True])
        assert one.id.value == pytest.approx(value["id", one.kind, False] - value["id", one.kind, True])
        assert one.permuted.value == pytest.approx(one.ood.value)
        assert one.ood.ci95[0] < one.ood.value < one.ood.ci95[1]


def test_realignment_by_other_definitions(info: GeometryResult, seen: dict[str, np.ndarray]) -> None:
    kept = list(PLAN.kept)
    directions = {
        name: states / np.linalg.norm(states.astype(float), axis=2, keepdims=True) for name, states in seen.items()
    }
    found = {(one.kind, one.reference, one.length): one for one in info.realigned_otherwise}
    assert len(found) == 4
    for (kind, reference, length), one in found.items():
        states, profile = (seen if length == "raw" else directions), norms if kind == "norm" else distances
        after = states["reference planned"] if reference == "same plan" else states["reference"][kept]
        for name, estimate in (("ood", one.ood), ("id", one.id)):
            before = off(profile(states[name][kept]), profile(states["reference"][kept]))
            assert estimate.value == pytest.approx(before - off(profile(states[f"{name} planned"]), profile(after)))
            assert estimate.ci95[0] < estimate.value < estimate.ci95[1]


def test_attribution_adds_up_and_is_by_removal(info: GeometryResult, seen: dict[str, np.ndarray]) -> None:
    shares = info.find_attribution("norm")
    last = abs(info.find_deviation("norm").deviation.signed[-1])
    assert shares.before + sum(share.value for share in shares.along) == pytest.approx(last)
    model = load(PACKAGED["learner"]).model
    task = split(
        load_lab_task(TASK), search_groups([load_lab_task(TASK).examples, load_lab_task(REFERENCE).examples], 0.5, 0)
    )[1]
    without = norms(capture_states(model, Plan.drop(8, [3]), draw_sample(task.examples, MAX_EXAMPLES, 0), 60))
    others = [0, 1, 2, 4, 5, 6, 7]
    before, reference = norms(seen["ood"])[others], norms(seen["reference"])[others]
    assert shares.removal[3] is not None
    assert shares.removal[3].value == pytest.approx(off(before, reference) - off(without, reference))


def test_shares_of_the_final_state_sum_to_one(info: GeometryResult) -> None:
    for view in info.views:
        assert view.layers.first_share.value + sum(u.share.value for u in view.layers.updates) == pytest.approx(1)
        assert view.branches is None


def test_prune_reports_the_same_deviations(tmp_path: Path) -> None:
    """Same data, same seed: the command can be held against a run's own lines."""
    run = prune(
        PruneConfig(
            model="learner",
            task=TASK,
            reference=REFERENCE,
            batch_size=60,
            max_drops=1,
            random_plans=0,
            out=tmp_path / "a",
        )
    )
    found = measure_geometry(request(tmp_path / "b", plan=run.shown))
    mine = {(one.deviation.data, one.deviation.planned, one.deviation.kind): one.deviation for one in found.kept}
    assert len(mine) == len(run.deviations) == 8
    assert f"--plan '{run.shown.to_json()}'" in found.command
    for theirs in run.deviations:
        one = mine[theirs.data, theirs.planned, theirs.kind]
        assert one.layers == theirs.layers
        assert (one.value, *one.ci95, one.null_upper) == pytest.approx((theirs.value, *theirs.ci95, theirs.null_upper))


def test_the_folder_and_the_page(info: GeometryResult) -> None:
    assert {path.name for path in info.folder.iterdir()} == {
        "manifest.json",
        "geometry.json",
        "plan.json",
        "report.html",
    }
    assert Plan.from_json((info.folder / "plan.json").read_text()) == PLAN
    assert "--plan plan.json" in info.command
    page = (info.folder / "report.html").read_text()
    assert page.count("<svg") == 5
    for outside in ("<script", "<link", "@import", "src=", "NaN", "nan"):
        assert outside not in page.replace("nance", "")
    for sentence in explain_profile(info):
        assert sentence[5:40] in page
    for title in ("effective rank", "along the stream", "by removal", "norm of the update", "OOD under the plan"):
        assert title in page


def test_without_a_plan_nothing_is_said_of_one(tmp_path: Path) -> None:
    found = measure_geometry(request(tmp_path / "run", branches=True))
    assert (found.kept, found.realigned, len(found.views), found.plan) == ((), (), 2, Plan.full(8))
    with pytest.raises(KeyError, match="ood under a plan was not observed"):
        found.find_view("ood", planned=True)
    branches = found.find_view("ood").branches
    assert branches is not None
    assert [(u.layer, u.branch) for u in branches.updates[:3]] == [(0, "attention"), (0, "mlp"), (1, "attention")]
    page = (found.folder / "report.html").read_text()
    assert page.count("<svg") == 6
    assert "under the plan" not in page
    assert "attention norm of the update" in page
    assert not (found.folder / "plan.json").exists()


def test_text_under_a_scale_by_layers_and_branches(tmp_path: Path) -> None:
    files = [write_lines(tmp_path / f"{at}.jsonl", choice_rows(60, 60 * at)) for at in range(2)]
    config = request(
        tmp_path / "run",
        task=str(files[1]),
        reference=str(files[0]),
        model="tiny",
        branches=True,
        plan=Plan.scale(4, {1: 0.5}),
    )
    model = tiny("llama")
    found = measure_geometry(config, inputs=load_inputs(config, SILENT, LoadedModel(model, word_tokenizer())))
    assert found.n == 15  # half of the 30 groups of a file
    assert {one.deviation.layers for one in found.kept} == {(0, 1, 2, 3)}
    full, planned = (found.find_view("ood", under).layers.updates[1].norm.value for under in (False, True))
    assert planned == pytest.approx(full / 2, rel=1e-4)
    both = found.find_view("id").branches
    assert both is not None
    assert [(one.layer, one.branch) for one in both.updates[2:4]] == [(1, "attention"), (1, "mlp")]
    assert any("under 1×0.5 it" in line for line in explain_profile(found))


def with_null(info: GeometryResult, upper: float) -> GeometryResult:
    """The same measurements beside another null."""
    deviations = [
        one.model_copy(update={"deviation": one.deviation.model_copy(update={"null_upper": upper})})
        for one in info.deviations
    ]
    return info.model_copy(update={"deviations": tuple(deviations), "realigned": ()})


def test_layers_are_named_only_for_a_deviation_above_its_null(info: GeometryResult) -> None:
    loud, quiet = explain_profile(with_null(info, 0.0)), explain_profile(with_null(info, 9.0))
    assert len(loud) == len(quiet) == 2
    assert all("does not exceed its null (95 % of equal ID samples stay below 9.000; permutation p" in s for s in quiet)
    assert not any("carr" in sentence for sentence in quiet)
    assert all(" exceeds its null" in sentence and " carr" in sentence for sentence in loud)


def test_the_two_ways_are_said_to_differ_where_they_do(info: GeometryResult) -> None:
    def said(along: tuple[Estimate | None, ...], removal: tuple[Estimate | None, ...]) -> str:
        ways = info.attributions[0].model_copy(update={"along": along, "removal": removal})
        return explain_profile(with_null(info, 0.0).model_copy(update={"attributions": (ways, info.attributions[1])}))[
            0
        ]

    first, others = shares((0.5, 0.4), (0.1, 0.05)), shares((0.1, 0.05), (0.3, 0.2), (0.3, 0.2))
    assert said(first, first).endswith("; layer 0 carries most of it, along the stream as by removal")
    assert "; along the stream layer 0 carries most of it, by removal layers 1–2 carry most of it: the two" in said(
        first, others
    )
    assert "by removal no single layer clearly carries it: the two ways differ" in said(first, (None, None))
    assert said((None,), (None,)).endswith("; no single layer clearly carries it")


def test_a_deviation_that_no_layer_made_is_said_to_come_in(info: GeometryResult) -> None:
    def said(before: float) -> list[str]:
        found = tuple(one.model_copy(update={"before": before}) for one in info.attributions)
        return explain_profile(with_null(info, 0.0).model_copy(update={"attributions": found}))

    assert not any("before the first layer" in line for line in said(0.0))
    assert all("; before the first layer it is already 2.500; " in line for line in said(2.5))


def test_python_takes_live_things(tmp_path: Path, info: GeometryResult) -> None:
    model, task, reference = load(PACKAGED["learner"]).model, load_lab_task(TASK), load_lab_task(REFERENCE)
    found = tapioca.geometry(
        model, task=task, reference=reference, plan=PLAN, out=tmp_path / "a", batch_size=60, progress=False
    )
    assert found.views == info.views
    assert found.realigned == info.realigned
    assert read_record(GeometryResult, tmp_path / "a", "geometry.json", "geometry") == found


def shares(*found: tuple[float, float] | None) -> tuple[Estimate | None, ...]:
    """Values with the lower ends of their intervals."""
    return tuple(one and Estimate(value=one[0], ci95=(one[1], 2 * one[0])) for one in found)


def test_carriers_are_the_fewest_layers_that_make_half() -> None:
    assert find_carrying_layers(shares((0.1, 0.05), (0.5, 0.4), (0.2, 0.1), (-0.9, -1.0))) == (1,)
    assert find_carrying_layers(shares((0.3, 0.2), (0.1, 0.05), (0.3, 0.2), None)) == (0, 2)
    assert find_carrying_layers(shares((0.5, -0.1), (0.2, 0.1), (0.1, 0.05))) == (1, 2)
    assert find_carrying_layers(shares((0.5, -0.1), (-0.2, -0.3))) == ()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--plan", "none.json"], "cannot read none.json"),
        (["--plan", "full.json"], "full.json changes nothing; give a plan that drops or scales, or leave it out"),
        (
            ["--plan", "other.json"],
            "the plan is for a model of 4 layers, this one has 8; use the model it was made for",
        ),
        (["--reference", TASK], "holds the same rows as"),
        (["--limit", "12"], "at least 8 of each are needed, give more data or another --search-share"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full.json").write_text(Plan.full(8).to_json())
    Path("other.json").write_text(Plan.drop(4, [1]).to_json())
    assert main(["geometry", "learner", "--task", TASK, "--reference", REFERENCE, *more]) == 2
    _, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_profile_needs_a_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geometry", "learner", "--task", TASK]) == 2
    assert "Missing option '--reference'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--reference: Input should be a valid string, got None"):
        tapioca.geometry("learner", task=TASK, reference=None)  # type: ignore[arg-type]


def test_branches_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    task = write_lines(tmp_path / "a.jsonl", choice_rows(40))
    other = write_lines(tmp_path / "b.jsonl", choice_rows(40, 40))
    config = request(tmp_path / "run", task=str(task), reference=str(other), branches=True)
    model = tiny("opt")
    model.config.do_layer_norm_before = False
    with pytest.raises(
        ModelError, match=r"single branches cannot be observed: .* after the update was added; observe whole"
    ):
        measure_geometry(config, inputs=load_inputs(config, SILENT, LoadedModel(model, word_tokenizer())))
    assert not (tmp_path / "run").exists()


def test_the_screen(
    screen: tuple[Path, str], info: GeometryResult, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, out = screen
    assert max(map(len, re.sub(r"· .*", "", out).splitlines()[:20])) <= 80
    for text in ("along the stream [95 %]", "OOD under the plan", "ID reference under", "· the OOD norm deviation"):
        assert text in out
    ratios = info.find_deviation("norm").deviation.signed
    assert re.search(rf"^7 .* {re.escape(signed(ratios[7], 3))} ", out, re.MULTILINE)
    (info.folder / "report.html").unlink()
    assert main(["report", str(info.folder)]) == 0
    again, _ = capsys.readouterr()
    assert again.strip() == out[out.index("· OOD (out of distribution)") :].strip()
    assert (info.folder / "report.html").is_file()
    assert main(["report", str(info.folder), "--figures", str(tmp_path / "figures")]) == 0
    check_figures(tmp_path / "figures", ("profiles", "ratios", "deviations", "measures", "layers"))
