"""docs/results.md describes every key of every JSON file: held against files of real commands."""

from __future__ import annotations

import json
import re
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.commands import read_result
from tapioca.diagnosis.classify import PACKAGED_CLASSIFIER
from tapioca.lab.config import TextConfig, TrainConfig, TuneConfig
from tapioca.lab.train import train, tune
from tapioca.lab.train_text import train_text
from tapioca.models.load import PACKAGED
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.runs.rows import write_seen_rows

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def read_tables(page: str) -> dict[str, dict[str, str]]:
    """Of each section, by its anchor, the type of every key."""
    tables: dict[str, dict[str, str]] = {}
    for section in page.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        rows = re.findall(r"^\| (`.*?`) \| (.*?) \| (.+) \|$", body, re.MULTILINE)
        types: dict[str, str] = {}
        for keys, kind, _ in rows:
            names, kinds = re.findall(r"`(.+?)`", keys), kind.split("; ")
            types |= dict(zip(names, kinds * (len(names) if len(kinds) == 1 else 1), strict=True))
        tables[title.lower().replace(".", "")] = types
    return tables


TABLES = read_tables(PAGE)


def list_unknown_keys(content: dict[str, Any], anchor: str, prefix: str = "") -> list[str]:
    """Keys of an object, and of all in it, that do not stand in the section they belong to."""
    unknown = []
    for key, field in content.items():
        path = prefix + key
        names = [path, re.sub(r"^(ood|id)\.", "DATA.", path), f"{prefix}ROLE"]
        kind = next((TABLES[anchor][name] for name in names if name in TABLES[anchor]), None)
        if kind is None:
            unknown.append(f"{anchor}: {path}")
        elif kind == "object":
            unknown += list_unknown_keys(field, anchor, f"{path}.")
        elif record := re.search(r"\]\(#(.+?)\)", kind):
            values = list(field.values()) if kind.startswith("object: ") else field
            records = [part for part in flatten(values) if part is not None]
            unknown += [name for part in records for name in list_unknown_keys(part, record[1])]
    return unknown


def flatten(values: Any) -> list[Any]:
    """What stands in a list, or in lists of it; something else as it is."""
    return [part for value in values for part in flatten(value)] if isinstance(values, list) else [values]


def check_file(path: Path, name: str = "") -> None:
    """Fail where a key of a file is not on the page."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    anchor = (name or path.name).lower().replace(".", "")
    assert not [key for line in lines for key in list_unknown_keys(json.loads(line), anchor)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OOD and ID questions that differ in their length."""
    folder = tmp_path_factory.mktemp("data")
    write_lines(folder / "ood.jsonl", choice_rows(48, start=200))
    write_lines(folder / "id.jsonl", choice_rows(48))
    return folder


PLAN = Plan.drop(4, [1])
COMMANDS = {
    "compare": {"score": "likelihood", "criteria": "tale,shortgpt", "drops": "1", "random_plans": 1},
    "scale": {"plan": PLAN, "scales": "0,1,2", "random_sets": 1},
    "enumerate": {"score": "likelihood", "max_drops": 1},
    "geometry": {"plan": PLAN, "branches": True},
    "diagnose": {},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_that_a_command_writes_is_on_the_page(command: str, data: Path) -> None:
    options: dict[str, Any] = {**COMMANDS[command], "out": data / command, "progress": False}
    task, reference = data / "ood.jsonl", data / "id.jsonl"
    getattr(tapioca, command)(tiny("llama"), word_tokenizer(), task=task, reference=reference, **options)
    names = {path.name for path in (data / command).glob("*.json*")}
    assert names >= {"manifest.json", f"{command}.json"}
    for name in names:
        check_file(data / command / name)
    check_narrow_screen(data / command)


def test_every_key_that_a_comparison_writes_is_on_the_page(data: Path) -> None:
    tokenizers = {"tokenizer": word_tokenizer(), "other_tokenizer": word_tokenizer()}
    options: dict[str, Any] = {"score": "likelihood", "out": data / "versus", "progress": False}
    task, reference = data / "ood.jsonl", data / "id.jsonl"
    tapioca.versus(tiny("llama"), tiny("qwen3"), task=task, reference=reference, **tokenizers, **options)
    write_seen_rows(data / "versus", ["0123456789abcdef"])
    names = {"manifest.json", "versus.json", "examples.jsonl", "seen_rows.json"}
    assert {path.name for path in (data / "versus").glob("*.json*")} == names
    for name in (*names, "answers_a/manifest.json"):
        check_file(data / "versus" / name)
    check_narrow_screen(data / "versus")


def check_narrow_screen(folder: Path) -> None:
    """A console of 40 columns shows every word that one of 200 does, whole."""
    result, page = read_result(folder)
    printed_words = {}
    for width in (40, 200):
        console = Console(width=width, file=StringIO(), highlight=False)
        page.show(result, console)
        assert "…" not in console.file.getvalue()
        printed_words[width] = {word.strip(":│╭╮╰╯─") for word in console.file.getvalue().split()}
    assert printed_words[200] <= printed_words[40]


def test_every_key_that_a_search_writes_is_on_the_page(data: Path) -> None:
    for name, start in (("ood", 200), ("id", 0)):
        rows = [{"context": row["context"], "answer": "yes no"} for row in choice_rows(48, start)]
        write_lines(data / f"{name}_texts.jsonl", [*rows, {"context": "no answer"}])
        (data / f"{name}.yaml").write_text(f"kind: generate\nmax_new_tokens: 3\ndata: {name}_texts.jsonl\n")
    options: dict[str, Any] = {"score": "likelihood", "criterion": "shortgpt", "random_plans": 1, "max_drops": 1}
    options |= {"skip_bad_rows": True, "num_fewshot": 1}
    run = tapioca.prune(
        tiny("llama"),
        word_tokenizer(),
        task=data / "ood.yaml",
        reference=data / "id.yaml",
        out=data / "prune",
        progress=False,
        **options,
    )
    assert run.canary
    assert any(judgement.written for judgement in run.judgements)
    names = {"manifest.json", "run.json", "result.json", "plan.json", "examples.jsonl", "rows.json", "similarity.json"}
    assert {path.name for path in (data / "prune").glob("*.json*")} == names
    for name in names:
        check_file(data / "prune" / name)
    check_narrow_screen(data / "prune")


def test_a_timing(tmp_path: Path) -> None:
    out, plan = tmp_path / "out", Plan(n_layers=4, norms={1: 3.0})  # which no checkpoint holds
    tapioca.bench(tiny("llama"), plan=plan, grid="1x4", new_tokens=2, max_rounds=10, out=out, progress=False)
    for name in ("manifest.json", "bench.json"):
        check_file(out / name)
    check_file(out / "timings" / "1x4.json", "SIZE.json")
    check_narrow_screen(out)


def test_trainings(tmp_path: Path, data: Path) -> None:
    shape: dict[str, Any] = {"steps": 1, "batch": 2, "layers": 1, "width": 8, "heads": 1, "warmup": 0}
    train(TrainConfig(out=tmp_path / "train", **shape))
    tune(TuneConfig(model=str(PACKAGED["learner"]), task="lab:id", out=tmp_path / "tune", steps=1, batch=2))
    train_text(TextConfig(task=str(data / "ood.jsonl"), out=tmp_path / "text", **shape))
    for name in ("train", "tune", "text"):
        check_file(tmp_path / name / "training.json")


def test_studies_and_the_packaged_classifier() -> None:
    studies = list((ROOT / "studies" / "results").glob("*/study.json"))
    assert studies
    for path in studies:
        check_file(path)
    check_file(PACKAGED_CLASSIFIER, "classifier.json")


def test_a_key_that_is_not_on_the_page_is_found() -> None:
    plan = {"n_layers": 2, "steps": []}
    assert list_unknown_keys({"plan": plan, "ood": {"n": 1, "wins": 2}}, "resultjson") == [
        "planjson: steps",
        "resultjson: ood.wins",
    ]
    assert list_unknown_keys({"rules": {"C1": {"statement": "", "why": ""}}}, "studyjson") == ["rule: why"]


def test_links_lead_to_sections_and_no_section_stands_twice() -> None:
    assert set(re.findall(r"\]\(#(.+?)\)", PAGE)) == TABLES.keys()
    assert len(TABLES) == PAGE.count("\n## ")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that makes the page."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import results

    return results


def test_a_key_without_a_meaning_is_refused(module: ModuleType) -> None:
    class Small(BaseModel):
        """One number.

        Attributes:
            value: the number, in
                seconds; None where |x| is unknown.
        """

        value: float | None
        other: Plan

    rows = module.describe_record(Small, {Plan: "#planjson"})
    assert rows.splitlines() == [
        "| `value` | number or `null` | The number, in seconds; `null` where \\|x\\| is unknown |",
        "| `other` | [Plan](#planjson) | How much of each residual update a model keeps |",
    ]

    class Larger(Small):
        """The same and one more."""

        mute: int

    with pytest.raises(ValueError, match=r"^Larger.mute has no meaning; add it to the Attributes of the docstring$"):
        module.describe_record(Larger, {Plan: "#planjson"})


def test_the_check_fails_where_a_key_is_added(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Grown(Plan):
        """A plan with a key more.

        Attributes:
            extra: what the page does not say.
        """

        extra: int = 0

    import build

    monkeypatch.setattr(build, "PAGES", {"results.md": module.build_page})
    monkeypatch.setattr(sys, "argv", ["build.py", "--check"])
    build.main()
    files = tuple(file._replace(content=Grown) if file.name == "plan.json" else file for file in module.list_files())
    monkeypatch.setattr(module, "list_files", lambda: files)
    with pytest.raises(SystemExit, match=r"^docs/results.md is out of date; run make docs$"):
        build.main()
