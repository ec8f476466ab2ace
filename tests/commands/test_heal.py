"""A run's plan trained, and judged on the rows that the run was judged on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

import tapioca
from tapioca.commands.heal.config import HealConfig
from tapioca.commands.heal.page import draw_charts, show
from tapioca.commands.heal.result import HealResult
from tapioca.commands.heal.run import choose_settings, heal
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.models.load import load
from tapioca.plan import Plan
from tapioca.runs.records import write_record
from tapioca.runs.rows import read_run_rows, read_seen_rows
from tapioca.session.data import read_task

OOD, ID = "lab:target_offset=2,n=80", "lab:id,n=80"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PruneResult:
    folder = tmp_path_factory.mktemp("runs") / "learner"
    settings = {"batch_size": 40, "max_drops": 1, "random_plans": 0, "progress": False}
    return tapioca.prune("learner", task=OOD, reference=ID, out=folder, **settings)


@pytest.fixture(scope="module")
def healed(run: PruneResult) -> HealResult:
    return heal(HealConfig(run=run.folder, steps=6, batch=8, learning_rate=1e-3))


def test_the_checkpoint_is_judged_on_the_test_rows_of_the_run(run: PruneResult, healed: HealResult) -> None:
    model = load(healed.folder / healed.checkpoint).model
    for domain, name in (("ood", OOD), ("id", ID)):
        rows = set(read_run_rows(run.folder).test[domain])
        task = read_task(name, load("learner"), {})
        task = task.select_examples(example for example in task.examples if example.row_digest in rows)
        error = -evaluate(model, task, [Plan.full(7)]).values.mean()
        gain = healed.over_full[domain].result
        assert gain.n == len(rows) == 40
        assert -gain.planned == pytest.approx(error, rel=1e-5)
        assert gain.full == healed.plan_over_full[domain].result.full
        assert gain.planned == healed.over_plan[domain].result.planned
        before = run.find_result(domain)
        assert before is not None
        assert healed.plan_over_full[domain].result.gain == pytest.approx(before.result.gain, rel=1e-4)


def test_the_record_says_how_it_was_trained(run: PruneResult, healed: HealResult) -> None:
    training = healed.training
    assert (training.by, training.rank, training.steps, training.rows) == ("labels", 16, 6, {"ood": 40, "id": 40})
    assert len(training.losses) == 6
    assert healed.plan == run.plan
    assert [model.n_layers for model in healed.models] == [8, 7, 7]
    assert HealResult.model_validate_json(healed.model_dump_json()) == healed.model_copy(update={"folder": Path()})
    assert healed.command == f"tapioca heal {run.folder.name} --steps 6 --batch 8 --learning-rate 0.001"


def test_the_checkpoint_remembers_every_row_it_has_seen(run: PruneResult, healed: HealResult) -> None:
    rows, seen = read_run_rows(run.folder), read_seen_rows(healed.folder / healed.checkpoint)
    assert seen == rows.searched
    assert not seen & {row for of_data in rows.test.values() for row in of_data}


@pytest.mark.slow
def test_the_same_command_trains_nothing_again(healed: HealResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("tapioca.commands.heal.job.train_student", refuse)
    again = heal(HealConfig(run=healed.folder.with_name("learner"), steps=6, batch=8, learning_rate=1e-3))
    assert again == healed


def test_screen_and_page_say_what_healing_gave(healed: HealResult) -> None:
    console = Console(width=100, record=True, quiet=False, file=None)
    with console.capture() as captured:
        show(healed, console)
    said = " ".join(captured.get().split())
    assert "adapters of rank 16 of drop" in said
    assert "6 steps of 8 of 40 OOD and 40 ID rows" in said
    assert "healed vs full model" in said
    assert set(draw_charts(healed)) == {"changes", "losses"}
    page = (healed.folder / "report.html").read_text()
    assert "healed vs plan" in page
    assert "OOD and ID rows take turns" in page


def test_rows_that_the_run_is_judged_on_are_refused(run: PruneResult, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"40 of 80 rows of lab:target_offset=2,n=80 \(such as id '1'\) are rows that .*learner is judged on; leave them out of --data",
    ):
        heal(HealConfig(run=run.folder, data=OOD, out=tmp_path / "leak"))
    assert not (tmp_path / "leak").exists()


def test_a_run_that_drops_nothing_has_nothing_to_heal(run: PruneResult, tmp_path: Path) -> None:
    record = json.loads((run.folder / "run.json").read_text())
    kept = read_run(run.folder).model_copy(update={"plan": Plan.full(8), "folder": tmp_path})
    assert record["plan"] != json.loads(kept.model_dump_json())["plan"]
    write_record(kept, "run.json")
    with pytest.raises(
        UsageError, match="drops nothing, so there is nothing to heal; give --plan, or a run made with --target-params"
    ):
        heal(HealConfig(run=tmp_path))


def test_all_weights_learn_more_slowly_than_adapters() -> None:
    adapters, weights = (choose_settings(HealConfig(run=Path("runs/a"), full=full)) for full in (False, True))
    assert (adapters.rank, adapters.learning_rate) == (16, 2e-4)
    assert (weights.rank, weights.learning_rate) == (0, 3e-5)


@pytest.mark.slow
def test_every_order_is_tried_with_every_seed(run: PruneResult, tmp_path: Path) -> None:
    found = heal(HealConfig(run=run.folder, out=tmp_path / "out", steps=4, batch=8, by="teacher", orders=True, seeds=2))
    by_order = {row.order: row.trials for row in found.orders}
    assert list(by_order) == ["prune", "tune", "prune → tune", "tune → prune", "prune → tune → prune"]
    assert [len(trials) for trials in by_order.values()] == [1, 2, 2, 2, 2]
    assert by_order["prune"][0].over_full == found.plan_over_full
    assert by_order["prune → tune"][0].over_full == found.over_full
    assert all(trial.plan.is_full for trial in by_order["tune"])
    assert [trial.seed for trial in by_order["tune → prune"]] == [0, 1]
    assert by_order["prune → tune → prune"][0].plan.n_layers == 8 - run.plan.size
    seconds = {order: trials[0].seconds for order, trials in by_order.items()}
    assert seconds["prune → tune → prune"] > seconds["prune → tune"] > seconds["prune"] > 0
