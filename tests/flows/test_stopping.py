"""Rounds that stop plans early: without risk by default, and with --race."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from conftest import word_tokenizer, write_lines
from rich.console import Console

import tapioca
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.flows.prepare import Job, prepare
from tapioca.flows.search import _race, criterion_of, run_search, sized
from tapioca.flows.watcher import Silent
from tapioca.models.load import Loaded
from tapioca.models.tiny import tiny
from tapioca.records import Plan, PruneConfig
from tapioca.records.tree import layers_computed
from tapioca.report.screen import show
from tapioca.report.words import quantity
from tapioca.runs.store import read_run
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

MODEL = tiny("llama")


def rows(count: int) -> list[dict]:
    """Prompts of random words, all different."""
    rng = np.random.default_rng(0)
    prompts = (" ".join(rng.choice(["the", "cat", "dog", "sat", "mat", "ran", "big", "red"], 9)) for _ in range(count))
    return [{"id": str(at), "prompt": prompt, "answer": "yes"} for at, prompt in enumerate(dict.fromkeys(prompts))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label task whose gold answers are mostly what the model says, so that plans differ and drops cost."""
    folder = tmp_path_factory.mktemp("data")
    said = {"labels": ("yes", "no"), "template": "{{ prompt }}", "kind": "label"}
    asked = rows(400)
    task = load_task(str(write_lines(folder / "asked.jsonl", asked)), Encoder(word_tokenizer(), 128), said)
    right = evaluate(MODEL, task, [Plan.full(4)]).values[0]
    rng = np.random.default_rng(1)
    for row, yes in zip(asked, right, strict=True):
        row["answer"] = "yes" if bool(yes) != bool(rng.random() < 0.1) else "no"
    return write_lines(folder / "task.jsonl", asked)


@contextmanager
def job_of(data: Path, out: Path, **fields: object) -> Iterator[tuple[Job, PruneConfig]]:
    said: dict = {"model": "live", "task": str(data), "out": out, "batch_size": 8, "epsilon": 1.0, "search_share": 0.7}
    said |= {"kind": "label", "label": ("yes", "no"), "template": "{{ prompt }}", **fields}
    config = PruneConfig(**said)
    job = prepare(config, Silent(), Loaded(MODEL, word_tokenizer()))
    with job.store:
        yield job, config


def test_by_default_no_decision_changes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with job_of(data, tmp_path / "stopping") as (job, config):
        found = run_search(job, config, sized(job, config))
    monkeypatch.setattr("tapioca.flows.search._race", lambda *_: None)
    with job_of(data, tmp_path / "whole") as (job, config):
        whole = run_search(job, config, sized(job, config))
    assert found.path == whole.path
    assert [one.ties for one in found.rounds] == [one.ties for one in whole.rounds]
    assert sum(one.stopped for one in found.rounds) > 0 == sum(one.stopped for one in whole.rounds)


def test_work_is_what_was_computed(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "run", streams="single") as (job, config):
        found = run_search(job, config, sized(job, config))
        examples = len(job.search["ood"].examples)
    first = found.rounds[0]
    assert first.work is not None
    whole = layers_computed(tuple(trial.plan for trial in first.trials)) * examples
    assert 0 < first.work.layer_forwards < whole
    assert first.work.layer_tokens > 9 * first.work.layer_forwards
    assert first.work.flops > first.work.layer_tokens * 2 * 32 * 32 * 5
    assert first.work.seconds > 0
    assert first.work.difference is None


def test_a_run_with_stacked_streams_says_how_far_they_were_off(data: Path, tmp_path: Path) -> None:
    said = {"kind": "label", "label": ("yes", "no"), "template": "{{ prompt }}", "batch_size": 8, "random_plans": 1}
    ran = {
        way: tapioca.prune(
            MODEL,
            word_tokenizer(),
            task=str(data),
            out=tmp_path / way,
            streams=way,
            max_drops=1,
            progress=False,
            **said,
        )
        for way in ("single", "stacked")
    }
    assert (ran["single"].cost.difference, ran["single"].rounds[0].work.difference) == (None, None)
    found = ran["stacked"].cost.difference
    assert 0 <= ran["stacked"].rounds[0].work.difference <= found < 1e-5
    line = f"differed from those of a plan alone by at most {found:.1g} of the largest"
    screen = Console(record=True, width=200, file=StringIO())
    show(ran["stacked"], screen)
    assert line in screen.export_text()
    assert line in (tmp_path / "stacked" / "report.html").read_text().replace("&#39;", "'")
    assert "plans ran stacked" not in (tmp_path / "single" / "report.html").read_text()
    assert read_run(tmp_path / "stacked").cost.difference == found


def test_a_race_stops_hopeless_plans(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "race", race=True) as (job, config):
        found = run_search(job, config, sized(job, config))
        cut = {example.id for example in job.search["ood"].examples}
    with job_of(data, tmp_path / "exact") as (job, config):
        exact = run_search(job, config, sized(job, config))
    assert len(cut) > 200
    assert found.rounds[0].winner.plan == exact.rounds[0].winner.plan
    assert sum(one.stopped for one in found.rounds) > 0
    for one in found.rounds:
        assert one.winner.examples is None


def test_the_page_says_what_was_stopped_and_computed(data: Path, tmp_path: Path) -> None:
    said = {"kind": "label", "label": ("yes", "no"), "template": "{{ prompt }}", "batch_size": 8, "epsilon": 0.0}
    info = tapioca.prune(
        MODEL, word_tokenizer(), task=str(data), out=tmp_path / "run", random_plans=1, progress=False, **said
    )
    (only,) = info.rounds
    page = (tmp_path / "run" / "report.html").read_text()
    assert only.work is not None
    assert only.stopped > 0
    assert (
        f"<td>{only.stopped}</td>\n<td>{quantity(only.work.layer_tokens)}</td><td>{quantity(only.work.flops)}</td>"
        in page
    )
    assert "Plans stopped early have no point" in page
    assert "layers dropped" in page
    assert "branches dropped" not in page


def test_a_race_needs_bounded_scores_and_tales_search(data: Path, tmp_path: Path) -> None:
    with (
        job_of(data, tmp_path / "run", race=True, score="likelihood") as (job, config),
        pytest.raises(UsageError, match="--race needs scores between 0 and 1 on every example"),
    ):
        _race(job, config, 4)
    with pytest.raises(UsageError, match="--race belongs to --criterion tale, got sleb"):
        criterion_of(PruneConfig(model="m", task="t", race=True, criterion="sleb"))


@pytest.mark.parametrize("text", ["0", "much", "-1GiB"])
def test_a_memory_is_a_size(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        PruneConfig(model="m", task="t", memory=text)
    assert PruneConfig(model="m", task="t", memory="1.5GiB").memory_bytes == 3 * 2**29


def test_memory_changes_no_answer_and_too_little_is_one_line(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "little", memory="40KiB") as (job, config):
        little = run_search(job, config, sized(job, config))
    with job_of(data, tmp_path / "much") as (job, config):
        much = run_search(job, config, sized(job, config))
    assert little.path == much.path
