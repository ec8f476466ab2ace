"""The main job end to end on small real models, in Python: what it returns, writes, resumes and refuses."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

import tapioca
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.prune.words import describe_companions
from tapioca.errors import DataError, StoreError, UsageError
from tapioca.evaluate import evaluate
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.lab.tasks import load_lab_task
from tapioca.models.families import FAMILIES
from tapioca.models.load import PACKAGED, load
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches, sample_batches
from tapioca.tasks.split import search_groups, split

OPTIONS = {"reference": "lab:id,n=120", "batch_size": 60, "random_plans": 5, "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    """A run of the packaged learner on a shift that pruning helps."""
    out = tmp_path_factory.mktemp("runs") / "learner"
    return tapioca.prune(PACKAGED["learner"], task="lab:target_offset=2,n=120", out=out, **OPTIONS)


def split_as_the_run_did() -> tuple[Task, Task]:
    task = load_lab_task("lab:target_offset=2,n=120")
    return split(task, search_groups([task.examples, load_lab_task("lab:id,n=120").examples], 0.5, 0))


def test_the_gain_is_measured_on_held_out_prompts(run: PruneResult) -> None:
    judged = run.find_result("ood")
    assert judged is not None
    assert run.checks["ood"].n_search == judged.result.n == 60
    search, test = split_as_the_run_did()
    model = load(PACKAGED["learner"]).model
    scores = evaluate(model, test, [Plan.full(8), run.plan], batch_size=60).values
    assert judged.result.gain == pytest.approx(test.pairing(0).effect(scores[0], scores[1]))
    searched = evaluate(model, search, [run.plan], batch_size=60).values.mean()
    assert run.rounds[len(run.plan.drops) - 1].winner.score == pytest.approx(searched)


def test_the_verdict_follows_from_the_intervals(run: PruneResult) -> None:
    ood, reference = run.find_result("ood"), run.find_result("id")
    assert ood is not None
    assert reference is not None
    assert ood.result.ci95[0] > 0
    assert reference.result.ci95[1] < 0
    assert run.verdict.action == "prune OOD traffic only"


def test_every_single_drop_was_tried_and_the_winner_is_the_best(run: PruneResult) -> None:
    first = run.rounds[0]
    assert {trial.plan for trial in first.trials} == {Plan.drop(8, [layer]) for layer in range(8)}
    assert first.winner.score == max(trial.score for trial in first.trials)
    assert run.cost.plans_tried == 1 + sum(len(found.trials) for found in run.rounds)


def test_random_plans_stand_beside_the_best(run: PruneResult) -> None:
    judged = run.find_result("ood")
    assert judged is not None
    assert len(judged.random) == 5


def test_random_plans_are_judged_on_few_ood_examples_and_the_plan_on_the_same(run: PruneResult, tmp_path: Path) -> None:
    """The primary test stays on all examples, whatever the random plans are judged on."""
    options = {**OPTIONS, "batch_size": 20, "random_examples": 40, "max_drops": 1}
    info = tapioca.prune(PACKAGED["learner"], task="lab:target_offset=2,n=120", out=tmp_path / "run", **options)
    ood, reference = info.find_result("ood"), info.find_result("id")
    assert ood is not None
    assert reference is not None
    assert (ood.result.n, ood.random_n, reference.random, reference.random_n) == (60, 40, (), None)
    task = sample_batches(split_as_the_run_did()[1], 20, 40)
    with closing(sqlite3.connect(tmp_path / "run" / "run.sqlite")) as db:
        rows = db.execute("SELECT json, batch FROM answers JOIN plans ON plan = digest").fetchall()
    sample = {batch.digest for batch in make_batches(task, 20)}
    rivals = {text for text, batch in rows if batch in sample} - {Plan.full(8).to_json(), info.plan.to_json()}
    assert len(rivals) == len(ood.random) == 5
    others = {batch.digest for batch in make_batches(split_as_the_run_did()[1], 20)} - sample
    assert {text for text, batch in rows if batch in others} == {Plan.full(8).to_json(), info.plan.to_json()}
    plans = [Plan.full(8), info.plan, *map(Plan.from_json, sorted(rivals))]
    full, *rest = evaluate(load(PACKAGED["learner"]).model, task, plans, batch_size=20).values
    gain, *gains = [task.pairing(0).effect(full, scores) for scores in rest]
    assert ood.gain_beside == pytest.approx(gain)
    assert sorted(ood.random) == pytest.approx(sorted(gains))
    own, best, worst = (f"error × {1 - one:#.3g}" for one in (gain, max(gains), min(gains)))
    assert describe_companions(info)[0] == (
        f"{info.plan} on 40 of 60 OOD examples: {own}; of 5 random plans as large the best {best}, the worst {worst}"
    )
    again = tapioca.prune(
        PACKAGED["learner"], task="lab:target_offset=2,n=120", out=tmp_path / "run", **{**options, "random_plans": 0}
    )
    assert [one.result for one in again.judgements] == [one.result for one in info.judgements]


def test_nothing_is_computed_twice_before_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What checks and search compute of the search data: the full model once, and each drop once, in shared beginnings."""
    monkeypatch.setattr("tapioca.session.preflight.MAX_PROBED", 20)
    options = {**OPTIONS, "batch_size": 20, "max_drops": 1, "random_plans": 0}
    info = tapioca.prune(PACKAGED["learner"], task="lab:target_offset=2,n=120", out=tmp_path / "run", **options)
    assert (info.checks["ood"].n_scored, info.checks["id"].n_scored) == (None, 20)
    search = split_as_the_run_did()[0]
    with closing(sqlite3.connect(tmp_path / "run" / "run.sqlite")) as db:
        spent = dict(db.execute("SELECT batch, sum(layers) FROM answers GROUP BY batch"))
    layers = [spent[batch.digest] / len(batch.examples) for batch in make_batches(search, 20)]
    tree = 8 * 9 // 2  # the full model and its single drops as one prefix tree
    assert sorted(layers) == pytest.approx([tree, tree, tree + 6])  # in the sample, drops 2, 4 and 6 begin anew


def test_geometry_is_measured_over_kept_layers(run: PruneResult) -> None:
    profiles = {(profile.data, profile.planned): profile for profile in run.profiles}
    assert set(profiles) == {("id", False), ("ood", False), ("id", True), ("ood", True)}
    assert profiles["ood", True].layers == run.plan.kept
    assert profiles["ood", False].layers == tuple(range(8))
    assert {(d.data, d.planned, d.kind) for d in run.deviations} == {
        (a, b, c) for a in ("id", "ood") for b in (False, True) for c in ("norm", "distance")
    }
    assert {d.layers for d in run.deviations} == {run.plan.kept}
    full_id = next(d for d in run.deviations if d.data == "id" and not d.planned and d.kind == "norm")
    full_ood = next(d for d in run.deviations if d.data == "ood" and not d.planned and d.kind == "norm")
    assert full_ood.value > full_ood.null_upper > full_id.null_mean


def test_what_the_run_folder_holds(run: PruneResult) -> None:
    names = {path.name for path in run.folder.iterdir()} - {"run.sqlite-wal", "run.sqlite-shm"}
    assert names == {
        "manifest.json",
        "rows.json",
        "run.sqlite",
        "run.json",
        "result.json",
        "plan.json",
        "report.html",
        "examples.jsonl",
    }
    assert Plan.from_json((run.folder / "plan.json").read_text()) == run.plan
    assert read_run(run.folder) == run
    result = json.loads((run.folder / "result.json").read_text())
    assert set(result) == {"plan", "criterion", "verdict", "cost", "ood", "id"}
    assert set(result["ood"]) == {"metric", "n", "full", "planned", "gain", "ci95", "p"}
    judged = run.find_result("ood")
    assert judged is not None
    assert result["ood"]["full"] == -judged.result.full > 0


def test_numbers_have_no_class_balance(run: PruneResult) -> None:
    assert run.checks["ood"].labels == {}
    assert "search answers" not in (run.folder / "report.html").read_text()


def test_the_page_needs_nothing_from_outside(run: PruneResult) -> None:
    page = (run.folder / "report.html").read_text()
    assert page.count("<svg") == 4
    for outside in ("<script", "<link", "@import", "src="):
        assert outside not in page
    assert "Prune OOD traffic only" in page
    assert "NaN" not in page


def test_the_same_call_again_evaluates_nothing(run: PruneResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("tapioca.evaluate.batch.sweep", refuse)
    again = tapioca.prune(PACKAGED["learner"], task="lab:target_offset=2,n=120", out=run.folder, **OPTIONS)
    assert again == run


def test_another_request_does_not_touch_the_folder(run: PruneResult) -> None:
    with pytest.raises(StoreError, match=r"belongs to another run \(differs in: settings\)"):
        tapioca.prune(PACKAGED["learner"], task="lab:target_offset=2,n=120", out=run.folder, **{**OPTIONS, "seed": 1})
    with pytest.raises(StoreError, match=r"differs in: data"):
        tapioca.prune(PACKAGED["learner"], task="lab:target_offset=1,n=120", out=run.folder, **OPTIONS)
    assert read_run(run.folder) == run


def test_an_exported_run_carries_its_card(run: PruneResult, tmp_path: Path) -> None:
    done = tapioca.export(run.folder, tmp_path / "pruned")
    assert done.plan == run.plan
    assert done.difference == 0
    card = (tmp_path / "pruned" / "README.md").read_text()
    judged = run.find_result("ood")
    assert judged is not None
    assert f"error × {1 - judged.result.gain:#.3g}" in card
    assert run.command in card
    _, test = split_as_the_run_did()
    scores = evaluate(load(tmp_path / "pruned").model, test, [Plan.full(len(run.plan.kept))], batch_size=60).values[0]
    assert judged.result.planned == pytest.approx(scores.mean(), rel=1e-6)


def text_run(model: PreTrainedModel, folder: Path, **options: object) -> PruneResult:
    """A run of a small random model on made-up choices."""
    task = write_lines(folder / "ood.jsonl", choice_rows(80))
    reference = write_lines(folder / "id.jsonl", choice_rows(80, start=200))
    settings = {"score": "likelihood", "random_plans": 3, "progress": False, "out": folder / "run", **options}
    return tapioca.prune(model, word_tokenizer(), task=task, reference=reference, **settings)


@pytest.mark.parametrize(
    "name",
    [
        "llama",
        "qwen2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "gpt_neox", "mistral", "qwen3")),
    ],
)
def test_a_live_model_of_every_family(name: str, tmp_path: Path) -> None:
    info = text_run(tiny(name), tmp_path, max_drops=1)
    assert info.metric.kind == "error"
    assert len(info.rounds[0].trials) == 4
    gains = name == "llama"  # the others' intervals hold 0, or no plan of theirs scores higher
    assert info.verdict.action == ("prune OOD traffic only" if gains else "keep the full model")
    assert sum(info.checks["ood"].labels.values()) == info.checks["ood"].n_search == 40
    assert "; search answers: choice 0 " in (info.folder / "report.html").read_text()
    assert info.plan.is_full == (name == "qwen2")
    assert (info.find_result("ood", "best non-empty") is not None) == info.plan.is_full


def test_at_chance_accuracy_is_refused_and_likelihood_offered(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"not above chance \(25\.0 %\), so accuracy cannot guide a search; use --score likelihood"
    ):
        text_run(tiny("llama"), tmp_path, score="accuracy")


def test_at_chance_nothing_but_the_full_model_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, evaluate_batch = [], BatchEvaluator.evaluate_batch
    monkeypatch.setattr(
        BatchEvaluator, "evaluate_batch", lambda self, plans, batch: asked.append(len(plans) * len(batch.examples)) or evaluate_batch(self, plans, batch)
    )  # fmt: skip
    with pytest.raises(DataError, match="not above chance"):
        text_run(tiny("llama"), tmp_path, score="accuracy")
    assert sum(asked) == 40  # OOD search examples


def test_without_a_reference(tmp_path: Path) -> None:
    info = tapioca.prune(
        PACKAGED["learner"],
        task="lab:target_offset=2,n=60",
        out=tmp_path / "run",
        progress=False,
        random_plans=2,
        max_drops=1,
        batch_size=60,
    )
    assert info.find_result("id") is None
    assert info.profiles == ()
    assert "no --reference" in info.notes[-1]
    assert info.verdict.action == "prune OOD traffic only"
    assert info.verdict.reason.endswith("; ID was not measured (no reference data)")


def test_test_data_of_its_own(tmp_path: Path) -> None:
    info = tapioca.prune(
        PACKAGED["learner"], task="lab:target_offset=2,n=40", test="lab:target_offset=2,n=60,seed=1", out=tmp_path / "run",
        progress=False, random_plans=0, max_drops=1, batch_size=60,
    )  # fmt: skip
    judged = info.find_result("ood")
    assert judged is not None
    assert (info.checks["ood"].n_search, judged.result.n) == (40, 60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "lab:target_offset=2,n=40"}, "holds the same rows"),
        ({"colour": "red"}, "unknown option colour"),
        ({"task": "lab:target_ofset=2"}, "did you mean 'target_offset'"),
        ({"task": "lab:id,n=9"}, "at least 8 of each are needed"),
        ({"field": ("x",)}, "not of the form name=column"),
    ],
)
def test_requests_that_cannot_work(options: dict, message: str, tmp_path: Path) -> None:
    settings = {"task": "lab:target_offset=2,n=40", "out": tmp_path / "run", "progress": False, **options}
    with pytest.raises(UsageError, match=message):
        tapioca.prune(PACKAGED["learner"], **settings)


def test_the_command_is_the_request() -> None:
    config = PruneConfig(model="m", task="a b.jsonl", label=("yes", "no"), epsilon=0.08, dry_run=True)
    assert config.command() == "tapioca prune m --task 'a b.jsonl' --label yes --label no --epsilon 0.08 --dry-run"


def test_a_layer_that_must_stay_is_neither_searched_nor_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "llama", replace(FAMILIES["llama"], first_stays="others read it"))
    info = text_run(tiny("llama"), tmp_path, max_drops=1, random_plans=20)
    assert {trial.plan.drops for trial in info.rounds[0].trials} == {(1,), (2,), (3,)}
    assert 0 not in info.checks["ood"].reference_drop.drops
    judged = info.find_result("ood", "best non-empty" if info.plan.is_full else "best")
    assert judged is not None
    assert len(judged.random) == 2
