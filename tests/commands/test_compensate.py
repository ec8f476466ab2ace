"""A run's plan with its gaps compensated: judged beside the plain one, without a new search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import choice_rows, write_lines

import tapioca
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.prune.words import describe_companions
from tapioca.errors import DataError, StoreError, UsageError
from tapioca.evaluate import evaluate
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import load
from tapioca.observe.compensation import compensate_plan
from tapioca.observe.sample import draw_sample
from tapioca.plan import Plan
from tapioca.records import RunConfig
from tapioca.tasks.split import search_groups, split

SETTINGS = {"task": "lab:target_offset=2,n=120", "reference": "lab:id,n=120", "batch_size": 60, "max_drops": 2}
OPTIONS = {**SETTINGS, "random_plans": 2, "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    return tapioca.prune("learner", out=tmp_path_factory.mktemp("runs") / "learner", **OPTIONS)


@pytest.fixture(scope="module")
def compensated(run: PruneResult) -> PruneResult:
    with pytest.MonkeyPatch.context() as patch:
        asked: set[Plan] = set()
        evaluate_batch = BatchEvaluator.evaluate_batch

        def count(evaluator: BatchEvaluator, plans: list[Plan], batch: object) -> object:
            asked.update(plans)
            return evaluate_batch(evaluator, plans, batch)

        patch.setattr(BatchEvaluator, "evaluate_batch", count)
        again = tapioca.compensate(run, progress=False)
        assert asked == {again.plan}  # everything else is remembered
    return again


def test_the_map_is_fitted_on_id_search_inputs(run: PruneResult, compensated: PruneResult) -> None:
    ood, reference = load_lab_task("lab:target_offset=2,n=120"), load_lab_task("lab:id,n=120")
    search, test = split(reference, search_groups([ood.examples, reference.examples], 0.5, 0))
    prompts = [example.prompt for example in draw_sample(search.examples, 512, 0)]
    model = load("learner").model
    assert compensated.plan == compensate_plan(model, run.plan, prompts, "linear", 60)
    assert compensated.plan.drops == run.plan.drops
    assert compensated.plan.maps
    scores = evaluate(model, test, [run.plan, compensated.plan], batch_size=60).values
    assert compensated.compensation["id"].gain == pytest.approx(test.pairing(0).effect(scores[0], scores[1]))
    assert f"fitted on {len(prompts)} ID search inputs without their answers" in " ".join(compensated.notes)


def test_the_plain_plan_stands_beside(run: PruneResult, compensated: PruneResult) -> None:
    plain, best = compensated.find_result("ood", "without compensation"), compensated.find_result("ood")
    assert plain is not None
    assert best is not None
    assert (plain.plan, best.plan) == (run.plan, compensated.plan)
    before = run.find_result("ood")
    assert before is not None
    assert plain.result == before.result
    assert compensated.rounds == run.rounds
    lines = describe_companions(compensated)
    assert any(line.startswith("compensation changed OOD error × ") for line in lines)
    assert f"{run.plan}: the best plan as the search found it" in lines
    page = (compensated.folder / "report.html").read_text(encoding="utf-8")
    assert "compensation changed OOD error" in page.replace("Compensation", "compensation")


def test_a_plan_with_matrices_is_named_by_its_file(compensated: PruneResult) -> None:
    options = {"task": "lab:id,n=60", "reference": "lab:id,n=60,seed=2", "progress": False}
    with pytest.raises(UsageError, match=r"--plan: a request names no matrices: write the plan into a file"):
        tapioca.geometry("learner", plan=compensated.plan, **options)


def test_the_plan_ships_with_its_arrays(compensated: PruneResult, tmp_path: Path) -> None:
    read = read_run(compensated.folder)
    assert read.plan == Plan.read(compensated.folder / "plan.json") == compensated.plan
    assert np.isfinite(read.plan.maps[0][1].array).all()
    exported = tapioca.export(compensated.folder, tmp_path / "shorter")
    assert exported.plan == compensated.plan
    assert exported.difference < 1e-4
    (compensated.folder / "plan.safetensors").rename(tmp_path / "away")
    with pytest.raises(UsageError, match=r"plan.safetensors is missing, which holds the arrays of the plan beside it"):
        tapioca.export(compensated.folder, tmp_path / "other")
    (tmp_path / "away").rename(compensated.folder / "plan.safetensors")


def test_factors_take_the_place_of_maps(run: PruneResult, compensated: PruneResult) -> None:
    again = tapioca.prune("learner", out=run.folder, compensate="scale", **OPTIONS)
    assert not (run.folder / "plan.safetensors").exists()
    assert Plan.read(run.folder / "plan.json") == again.plan
    assert [layer for layer, _ in again.plan.factors] == [
        layer for layer in run.plan.kept if layer and layer - 1 in run.plan.drops
    ]
    assert again.command.endswith("--compensate scale")


def test_model_and_data_are_found_where_they_were(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record names what lies outside the working folder by its last part alone."""
    for folder in ("data", "work"):
        (tmp_path / folder).mkdir()
    for name, start in (("ood", 0), ("id", 100)):
        write_lines(tmp_path / "data" / f"{name}.jsonl", choice_rows(48, start))
    monkeypatch.chdir(tmp_path / "work")
    options = {"max_drops": 1, "epsilon": 9.0, "score": "likelihood", "random_plans": 0, "progress": False}
    data = {"task": tmp_path / "data" / "ood.jsonl", "reference": tmp_path / "data" / "id.jsonl"}
    run = tapioca.prune(model_folder, out=tmp_path / "run", **data, **options)
    assert (run.task, run.reference) == ("ood.jsonl", "id.jsonl")
    again = tapioca.compensate(tmp_path / "run", by="scale", progress=False)
    assert again.plan.drops == run.plan.drops
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"ood.jsonl"):
        tapioca.compensate(tmp_path / "run", progress=False)
    moved = {"task": tmp_path / "moved" / "ood.jsonl", "reference": tmp_path / "moved" / "id.jsonl"}
    assert tapioca.compensate(tmp_path / "run", **moved, progress=False).plan.drops == run.plan.drops


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no run.json; expected the folder of a finished `tapioca prune`"):
        tapioca.compensate(tmp_path, progress=False)


@pytest.mark.slow
def test_what_cannot_be_compensated_is_said(tmp_path: Path) -> None:
    options = {**OPTIONS, "task": "lab:id,n=120,seed=5", "max_drops": 1, "epsilon": 0.0}
    kept = tapioca.prune("learner", out=tmp_path / "id", compensate="scale", **options)
    assert kept.plan.is_full
    assert "not compensated: the best plan is the full model, which drops nothing" in kept.notes
    branches = tapioca.prune("learner", out=tmp_path / "mlp", compensate="linear", criterion="mlp", **OPTIONS)
    assert any(note.startswith("not compensated: 'drop mlp") for note in branches.notes)


@given(
    st.builds(
        RunConfig,
        model=st.sampled_from(["learner", "org/model", "a b"]),
        task=st.sampled_from(["lab:id", "rows with spaces.jsonl"]),
        reference=st.none() | st.just("clean.jsonl"),
        limit=st.none() | st.integers(8, 99),
        search_share=st.floats(0.1, 0.9),
        chat=st.booleans(),
        chat_date=st.none() | st.dates(),
        label=st.lists(st.sampled_from([" yes", "no", "--x"]), max_size=3).map(tuple),
        chat_option=st.just(()) | st.just(("thinking=false", "n=2")),
        adapter=st.none() | st.just(Path("adapter")),
        out=st.none() | st.just(Path("runs/x")),
    ).map(lambda config: PruneConfig(**config.model_dump()))
)
def test_a_request_is_read_from_its_command_line(config: PruneConfig) -> None:
    assert PruneConfig.from_command(config.command()) == config


def test_other_command_lines_are_refused() -> None:
    with pytest.raises(UsageError, match="'tapioca scale m --task t' is no command line of tapioca prune"):
        PruneConfig.from_command("tapioca scale m --task t")
    with pytest.raises(UsageError, match="has --older, which tapioca prune does not know; make the run again"):
        PruneConfig.from_command("tapioca prune m --task t --older 3")
