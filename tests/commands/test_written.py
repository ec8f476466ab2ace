"""How written answers end stands beside every generated result of compare, space and scale, full model and plan."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.rows import choice_rows
from support.words import whole_tokenizer, word_tokenizer

import tapioca
from tapioca.commands.compare import page as compare
from tapioca.commands.enumerate import page as enumerate_page
from tapioca.commands.scale import page as scale
from tapioca.engine.decode import PromptBatch, decode
from tapioca.evaluate import evaluate
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.report.written import HEADER, tabulate_written
from tapioca.session.held_out import gain_of
from tapioca.tasks.base import Task

BUDGET = 3


@pytest.fixture(scope="module")
def task() -> Task:
    """Twenty-four questions whose answers the model writes: what it writes itself for most of them."""
    model, tokenizer = tiny("llama"), whole_tokenizer()
    rows = [{"id": row["id"], "context": row["context"], "answer": "cat"} for row in choice_rows(24)]
    said: dict[str, Any] = {"kind": "generate", "max_new_tokens": BUDGET, "extract": r"w\d+ .*"}
    prompts = [example.prompt for example in tapioca.read_task(rows, model, tokenizer, **said).examples]
    texts = decode(model, PromptBatch(prompts, BUDGET, lambda ids: False))
    for row, ids in list(zip(rows, texts, strict=True))[:20]:
        row["answer"] = tokenizer.decode(ids.tolist())
    return tapioca.read_task(rows, model, tokenizer, **said)


def run(name: str, task: Task, out: Path) -> tuple[Any, list[dict[str, Any]]]:
    """A command's result, and the held-out OOD gains of its JSON that are of plans against the full model."""
    loaded = LoadedModel(tiny("llama"), whole_tokenizer())
    common: dict[str, Any] = {"task": task, "reference": None, "out": out, "progress": False}
    if name == "compare":
        info: Any = tapioca.compare(*loaded, **common, criteria="last,angular", drops="1", random_plans=0)
        return info, [pick["ood"] for pick in json.loads((out / "compare.json").read_text())["picks"]]
    if name == "enumerate":
        info = tapioca.enumerate(*loaded, **common, max_drops=1)
        return info, [size["oracle"]["ood"] for size in json.loads((out / "enumerate.json").read_text())["sizes"]]
    plan = Plan(n_layers=4, layers={1: 0.0}).to_json()
    info = tapioca.scale(*loaded, **common, plan=plan, scales="0,0.5,1", random_sets=0)
    return info, [dose["gain"] for dose in json.loads((out / "scale.json").read_text())["chosen"]["doses"]]


@pytest.mark.parametrize(("name", "report"), [("compare", compare), ("enumerate", enumerate_page), ("scale", scale)])
def test_written_stands_in_the_result_on_the_screen_and_on_the_page(
    name: str, report: Any, task: Task, tmp_path: Path
) -> None:
    info, gains = run(name, task, tmp_path / name)
    assert gains
    for gain in gains:
        written = gain["written"]
        assert set(written) == {"unparsed", "truncated", "mean_length"}
        assert all(0 <= count <= gain["n"] for count in (*written["unparsed"], *written["truncated"]))
        assert all(0 < length <= BUDGET for length in written["mean_length"])
    rows = tabulate_written(report.judged_plans(info)).rows
    assert rows[0][:2] == ("full model", "OOD")
    assert rows[0][2] == f"{gains[0]['written']['unparsed'][0] / gains[0]['n']:.0%}"
    assert len({row[:2] for row in rows}) == len(rows) > 1
    console = Console(width=200, file=StringIO())
    report.show(info, console)
    assert all(word in console.file.getvalue() for word in HEADER)  # type: ignore[attr-defined]
    page = (tmp_path / name / "report.html").read_text()
    assert "<h2>Written answers</h2>" in page
    assert all(f"<td>{cell}</td>" in page for row in rows for cell in row)


def test_the_counts_are_those_of_the_answers(task: Task) -> None:
    full, plan = Plan.full(4), Plan(n_layers=4, layers={2: 0.0})
    scores = evaluate(tiny("llama"), task, [plan, full])
    written = gain_of(task, scores, full, plan, seed=0).written
    assert written is not None
    assert written.unparsed == (scores.unparsed[1].sum(), scores.unparsed[0].sum())
    assert written.truncated == (scores.truncated[1].sum(), scores.truncated[0].sum())
    assert written.mean_length == pytest.approx(np.mean(scores.lengths, axis=1)[::-1])
    chosen = tapioca.read_task(choice_rows(8), tiny("llama"), word_tokenizer())
    assert gain_of(chosen, evaluate(tiny("llama"), chosen, [full, plan]), full, plan, seed=0).written is None
