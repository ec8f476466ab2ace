"""A finished run grows in its folder: what is stored is taken over, nothing is computed twice, other runs are refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.commands.prune.result import PruneResult
from tapioca.errors import StoreError
from tapioca.evaluate.batch import BatchEvaluator
from tapioca.models.tiny import tiny

MODEL, TOKENIZER = tiny("llama"), word_tokenizer()
SMALL = {"score": "likelihood", "progress": False, "batch_size": 8}
FEW = {"random_plans": 1, "max_drops": 1}


@pytest.fixture(autouse=True)
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often each answer was computed: (plan, batch) -> times."""
    counts: Counter = Counter()
    readings = BatchEvaluator.read_outputs

    def counted(self, plans, batch, count):
        counts.update((plan.digest, batch.digest) for plan in plans)
        return readings(self, plans, batch, count)

    monkeypatch.setattr(BatchEvaluator, "read_outputs", counted)
    # texts are written anew by every run, since no store keeps them, and charts are drawn anew; no test here reads them
    monkeypatch.setattr("tapioca.commands.prune.run.check_fluency", lambda job, plan: None)
    monkeypatch.setattr("tapioca.report.template.draw", lambda chart, kind: b"<svg><g/></svg>")
    return counts


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run, with the data it was made from."""
    folder = tmp_path_factory.mktemp("finished")
    write_lines(folder / "id.jsonl", alone(24, start=200))
    run(folder, reference=folder / "id.jsonl")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def alone(count: int, start: int = 0) -> list[dict]:
    """Rows that are each a group of its own."""
    return [{**row, "group": row["id"]} for row in choice_rows(count, start)]


def run(folder: Path, rows: int = 24, name: str = "prune", **options: object) -> PruneResult:
    task = write_lines(folder / "ood.jsonl", alone(rows))
    defaults = FEW if name == "prune" else {}
    settings = {**SMALL, **defaults, "task": task, "out": folder / "run", **options}
    return getattr(tapioca, name)(MODEL, TOKENIZER, **settings)


def stored(run: Path) -> dict[tuple[str, str], tuple[bytes, float]]:
    with closing(sqlite3.connect(run / "run.sqlite")) as db:
        rows = db.execute("SELECT plan, batch, answers, seconds FROM answers")
        return {(plan, batch): (answers, seconds) for plan, batch, answers, seconds in rows}


def without_cost(info: PruneResult) -> dict:
    """What a run found, but for its folder and what it cost."""
    record = info.model_dump(mode="json", exclude={"folder", "command", "cost", "model"})
    for found in record["rounds"]:
        found.pop("work")
    return record


@pytest.mark.parametrize("more", [{"max_drops": 3, "random_plans": 1}, {"max_drops": None, "random_plans": 3}])
def test_more_plans(more: dict, folder: Path, computed: Counter) -> None:
    before = stored(folder / "run")
    grown = run(folder, reference=folder / "id.jsonl", **more)
    after = stored(folder / "run")
    assert after.items() >= before.items()  # the same answers, and not one row was written again
    assert computed.keys() == after.keys() - before.keys() != set()
    assert set(computed.values()) == {1}
    settings = json.loads((folder / "run" / "manifest.json").read_text())["settings"]
    assert {name: settings[name] for name in more} == more
    fresh = run(folder, reference=folder / "id.jsonl", **more, out=folder / "fresh")
    assert without_cost(grown) == without_cost(fresh)


def test_back_to_fewer_plans_computes_nothing(tmp_path: Path, computed: Counter) -> None:
    first = run(tmp_path)
    run(tmp_path, max_drops=2)
    count = computed.total()
    assert without_cost(run(tmp_path)) == without_cost(first)
    assert computed.total() == count


def test_a_longer_file(tmp_path: Path, computed: Counter) -> None:
    """Where every example is a batch of its own, all answers of before are taken over."""
    run(tmp_path, batch_size=1)
    before = stored(tmp_path / "run")
    grown = run(tmp_path, batch_size=1, rows=32)
    after = stored(tmp_path / "run")
    assert after.items() > before.items()
    assert (len(computed), set(computed.values())) == (len(after), {1})
    assert (grown.checks["ood"].n_search, grown.checks["ood"].n_test) == (16, 16)
    assert without_cost(grown) == without_cost(run(tmp_path, batch_size=1, rows=32, out=tmp_path / "fresh"))


def test_batches_that_stay_the_same_are_taken_over(folder: Path, computed: Counter) -> None:
    """More OOD examples make other batches of them; those of the ID data stay as they were."""
    before = stored(folder / "run")
    grown = run(folder, rows=32, reference=folder / "id.jsonl")
    after = stored(folder / "run")
    assert computed.keys() == after.keys() - before.keys()
    assert set(computed.values()) == {1}
    fresh = run(folder, rows=32, reference=folder / "id.jsonl", out=folder / "fresh")
    taken = stored(folder / "fresh").keys() & before.keys()
    assert len(after) == len(before) + len(stored(folder / "fresh")) - len(taken)
    assert taken
    assert without_cost(grown) == without_cost(fresh)


def test_a_larger_limit(tmp_path: Path, computed: Counter) -> None:
    run(tmp_path, batch_size=1, rows=40, limit=24)
    before = stored(tmp_path / "run")
    grown = run(tmp_path, batch_size=1, rows=40, limit=32)
    assert grown.checks["ood"].n_search + grown.checks["ood"].n_test == 32
    run(tmp_path, batch_size=1, rows=40)
    assert stored(tmp_path / "run").items() > before.items()
    assert set(computed.values()) == {1}


@pytest.mark.parametrize(
    ("name", "first", "more"),
    [
        ("compare", {"criteria": "tale", "drops": "1"}, {"criteria": "tale,last,shortgpt", "drops": "1:2"}),
        ("enumerate", {"max_drops": 1}, {"max_drops": 2}),
        ("scale", {"scales": "0,1,2", "random_sets": 1}, {"scales": "0,0.5,1,2", "random_sets": 2}),
    ],
)
def test_other_commands_grow_too(name: str, first: dict, more: dict, tmp_path: Path, computed: Counter) -> None:
    plan = {"plan": tapioca.Plan.drop(4, [1])} if name == "scale" else {}
    run(tmp_path, name=name, **plan, **first)
    before = stored(tmp_path / "run")
    run(tmp_path, name=name, **plan, **more)
    assert stored(tmp_path / "run").items() > before.items()
    assert set(computed.values()) == {1}


def test_states_are_measured_again_on_more_examples(tmp_path: Path) -> None:
    def influence() -> list[float]:
        return json.loads((tmp_path / "run" / "similarity.json").read_text())["influence"]

    run(tmp_path, criterion="shortgpt")
    first = influence()
    run(tmp_path, criterion="shortgpt", max_drops=2)
    assert influence() == first
    run(tmp_path, criterion="shortgpt", rows=32)
    assert influence() != first


OTHERS = {
    "fewer examples": ({"rows": 20}, "data"),
    "a smaller limit": ({"limit": 20}, "data"),
    "no reference": ({"reference": None}, "data"),
    "another seed": ({"seed": 1}, "settings"),
    "other batches": ({"batch_size": 4}, "settings"),
    "another share": ({"search_share": 0.6}, "settings"),
    "another way to normalise": ({"normalize": "tokens"}, "data, settings"),
    "another floor": ({"epsilon": 0.5}, "settings"),
    "another criterion": ({"criterion": "last"}, "settings"),
    "in a race": ({"race": True}, "settings"),
    "whole rows": ({"no_shared_context": True}, "shared_contexts"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused(other: str, folder: Path) -> None:
    options, differs = OTHERS[other]
    files = contents(folder / "run")
    with pytest.raises(StoreError, match=rf"belongs to another run \(differs in: {differs}\); choose another folder"):
        run(folder, **{"reference": folder / "id.jsonl", **options})
    assert contents(folder / "run") == files


def test_a_changed_row_is_other_data(folder: Path) -> None:
    rows = alone(32)
    rows[3]["answer"] = (rows[3]["answer"] + 1) % 4
    task = write_lines(folder / "changed.jsonl", rows)
    with pytest.raises(StoreError, match=r"differs in: data\)"):
        run(folder, task=task, reference=folder / "id.jsonl")


def test_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"differs in: dtype, model\)"):
        tapioca.prune(
            tiny("llama").bfloat16(), TOKENIZER, task=folder / "ood.jsonl", reference=folder / "id.jsonl",
            out=folder / "run", **SMALL, **FEW,
        )  # fmt: skip


def test_a_growing_run_that_breaks_off_leaves_the_finished_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, computed: Counter
) -> None:
    """Manifest and results go together until the larger run is finished; what it has computed is kept."""
    files = contents(folder / "run")
    with monkeypatch.context() as patch:
        patch.setattr("tapioca.commands.prune.run.HeldOutJudge.evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, reference=folder / "id.jsonl", max_drops=3)
    assert contents(folder / "run") == files
    grown = run(folder, reference=folder / "id.jsonl", max_drops=3)
    assert set(computed.values()) == {1}
    assert grown.command.endswith("--max-drops 3")
    assert contents(folder / "run") != files


def stop(*args: object) -> None:
    raise KeyboardInterrupt


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run but its database."""
    return {path.name: path.read_bytes() for path in run.iterdir() if not path.name.startswith("run.sqlite")}
