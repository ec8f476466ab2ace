"""What commands leave names nothing of the machine it was made on, and goes on working where that is not known."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.prune.result import read_run
from tapioca.errors import UsageError
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records.portable import portable_name
from tapioca.runs.places import recall_places, remember_places

FEW = ["--score", "likelihood", "--random-plans", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and data in a folder whose name stands nowhere else."""
    place = tmp_path_factory.mktemp("private-place")
    tiny("llama").save_pretrained(place / "model")
    word_tokenizer().save_pretrained(place / "model")
    write_lines(place / "asked.jsonl", choice_rows(40))
    write_lines(place / "usual.jsonl", choice_rows(48)[8:])
    (place / "task.yaml").write_text("data: asked.jsonl\nnote: a note on the task\n")
    return place


def find_traces(folder: Path, place: Path) -> list[str]:
    """Files whose contents name the place, the user's folder or the machine."""
    traces = re.compile(
        "|".join([re.escape(place.name), re.escape(str(Path.home())), rf"\b{re.escape(socket.gethostname())}\b"])
    )
    contents = {path.name: path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}
    assert contents
    return [
        f"{name}: {match[0]}"
        for name, content in contents.items()
        if not name.endswith(".safetensors") and (match := traces.search(content))
    ]


COMMANDS = {
    "prune": ["--task", "{place}/task.yaml", "--reference", "{place}/usual.jsonl", "--max-drops", "1", *FEW],
    "compare": ["--task", "{place}/asked.jsonl", "--reference", "{place}/usual.jsonl", "--criteria", "angular", "--drops", "1", *FEW],
    "enumerate": ["--task", "{place}/asked.jsonl", "--reference", "{place}/usual.jsonl", "--max-drops", "1", "--score", "likelihood"],
    "geometry": ["--task", "{place}/asked.jsonl", "--reference", "{place}/usual.jsonl", "--plan", "{place}/plan.json"],
    "diagnose": ["--task", "{place}/asked.jsonl", "--reference", "{place}/usual.jsonl"],
    "scale": ["--task", "{place}/asked.jsonl", "--reference", "{place}/usual.jsonl", "--plan", "{place}/plan.json", "--random-sets", "1", "--score", "likelihood"],
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("prune", "diagnose"))) for name in COMMANDS],
)
def test_no_file_of_a_run_names_the_machine(name: str, place: Path) -> None:
    (place / "plan.json").write_text(Plan.drop(4, [1]).to_json())
    options = [option.format(place=place) for option in COMMANDS[name]]
    assert main([name, str(place / "model"), "--out", str(place / name), *options]) == 0
    assert main(["report", str(place / name)]) == 0
    assert find_traces(place / name, place) == []


def test_no_file_of_an_export_names_the_machine(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = place / "prune"
    if not run.exists():
        options = [option.format(place=place) for option in COMMANDS["prune"]]
        assert main(["prune", str(place / "model"), "--out", str(run), *options]) == 0
    monkeypatch.chdir(tmp_path)
    assert read_run(run).model == "model"
    assert recall_places(read_run(run).model_hash) == {"model": str(place / "model")}
    assert main(["export", str(run), "--to", str(place / "exported")]) == 0
    assert find_traces(place / "exported", place) == []
    assert (
        "tapioca prune model --task task.yaml --reference usual.jsonl --out prune"
        in (place / "exported/README.md").read_text()
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))  # another machine
    monkeypatch.setattr("tapioca.runs.places._places", {})
    with pytest.raises(UsageError, match="no model 'model': neither a folder here nor a hub model"):
        tapioca.export(run, tmp_path / "out")
    shutil.copytree(place / "model", tmp_path / "model")
    assert tapioca.export(run, tmp_path / "out").difference == 0


def test_places_are_kept_as_far_as_that_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remember_places("abc", model=tmp_path / "model", adapter=None, hub="owner/model")
    monkeypatch.setattr("tapioca.runs.places._places", {})
    assert recall_places("abc") == {"model": str(tmp_path / "model")}
    note = next((tmp_path / "cache").rglob("abc.json"))
    for damaged in ("[]", "{", '{"model": 3}', "[" * 100_000):
        (note.parent / "damaged.json").write_text(damaged)
        assert recall_places("damaged") == {}
    assert recall_places("../places/abc") == {}
    (tmp_path / "model").rmdir()
    assert recall_places("abc") == {}
    (tmp_path / "model").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # a cache that cannot be written
    remember_places("abc", model=tmp_path / "model")
    assert recall_places("abc") == {"model": str(tmp_path / "model")}
    monkeypatch.setattr("tapioca.runs.places._places", {})
    assert recall_places("abc") == {}
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("nobody's")))
    remember_places("abc", model=tmp_path / "model")
    assert recall_places("abc") == {"model": str(tmp_path / "model")}


@pytest.mark.slow
def test_no_file_of_the_lab_names_the_machine(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--layers", "2", "--width", "8", "--heads", "1", "--steps", "2", "--batch", "2"]
    assert (
        main(
            ["lab", "train-text", str(place / "asked.jsonl"), "--out", str(place / "text"), "--held-out", "0.9", *small]
        )
        == 0
    )
    assert main(["lab", "train", "--out", str(place / "learner"), *small]) == 0
    tuning = ["--task", "lab:id", "--steps", "1", "--out", str(place / "tuned")]
    assert main(["lab", "tune", str(place / "learner"), *tuning]) == 0
    for name in ("text", "learner", "tuned"):
        assert find_traces(place / name, place) == []
    monkeypatch.chdir(tmp_path)
    text = str(place / "text")
    assert main(["tasks", f"held-out:{text}", "--model", text]) == 0
    options = ["--reference", f"held-out:{text}", "--max-drops", "1", *FEW]
    assert main(["prune", text, "--task", str(place / "asked.jsonl"), "--out", str(place / "again"), *options]) == 0
    assert find_traces(place / "again", place) == []


def test_a_description_of_a_file_names_it_as_it_lies(place: Path) -> None:
    (place / "given").mkdir()
    shutil.copy(place / "asked.jsonl", place / "given" / "rows.jsonl")
    given = ["tasks", str(place / "given" / "rows.jsonl"), "--model", str(place / "model")]
    assert main([*given, "--write", str(place / "given" / "rows.yaml")]) == 0
    assert find_traces(place / "given", place) == []


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("/home/me/model", "model"),
        ("/home/me/model/", "model"),
        ("~/m", "m"),
        ("~you/m", "m"),
        ("../../me/t.csv", "t.csv"),
        (r"C:\Users\me\m", "m"),
        (r"\\server\share\m", "m"),
        ("/data/*.jsonl", "*.jsonl"),
        ("hub:/data/set,split=train,name=a/b", "hub:set,split=train,name=a/b"),
        ("held-out:/home/me/text", "held-out:text"),
        ("hub:owner/set,split=train", "hub:owner/set,split=train"),
        ("harness:arc_easy,shots=2", "harness:arc_easy,shots=2"),
        ("lab:target_offset=2,n=40", "lab:target_offset=2,n=40"),
        ("owner/model", "owner/model"),
        ("runs/a", "runs/a"),
        ("./runs/a", "./runs/a"),
        ('{"n_layers": 4}', '{"n_layers": 4}'),
        ("", ""),
    ],
)
def test_what_lies_outside_the_working_folder_is_named_by_its_last_part(name: str, portable: str) -> None:
    assert portable_name(name) == portable
