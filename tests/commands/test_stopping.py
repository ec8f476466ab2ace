"""Rounds that stop plans early: without risk by default, and with --race."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from support.rows import write_lines
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.page import show as show_run
from tapioca.commands.prune.result import read_run
from tapioca.commands.prune.search import (
    _make_race,
    _measure_race_bound,
    criterion_from_config,
    restrict_sizes,
    run_search,
)
from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.lab.tasks import load_lab_task
from tapioca.models.load import PACKAGED, LoadedModel, load
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_computed
from tapioca.progress import SILENT, NullProgress
from tapioca.report.format import format_flops, format_quantity
from tapioca.search.path import SearchPath
from tapioca.session.context import RunContext, load_inputs, open_run
from tapioca.session.preflight import run_preflight
from tapioca.tasks.batches import make_batches
from tapioca.tasks.files import load_task
from tapioca.tasks.split import search_groups, split
from tapioca.tasks.text import Encoder

MODEL = tiny("llama")


LEARNER = ["--batch-size", "10", "--random-plans", "1", "--max-drops", "1"]
NOISY = "lab:context_noise=0.2,n=200"


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


def search_plans(job: RunContext[PruneConfig]) -> SearchPath:
    """What `tapioca prune` does between its checks and its judgement."""
    job.space = restrict_sizes(job)
    return run_search(job)


@contextmanager
def job_of(data: Path, out: Path, **fields: object) -> Iterator[RunContext[PruneConfig]]:
    said: dict = {"model": "live", "task": str(data), "out": out, "batch_size": 8, "epsilon": 1.0, "search_share": 0.7}
    said |= {"kind": "label", "label": ("yes", "no"), "template": "{{ prompt }}", **fields}
    config = PruneConfig(**said)
    with open_run(config, SILENT, load_inputs(config, SILENT, LoadedModel(MODEL, word_tokenizer()))) as job:
        yield job


def test_by_default_no_decision_changes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with job_of(data, tmp_path / "stopping") as job:
        found = search_plans(job)
    monkeypatch.setattr("tapioca.commands.prune.search._make_race", lambda *_: None)
    with job_of(data, tmp_path / "whole") as job:
        whole = search_plans(job)
    assert found.path == whole.path
    assert [one.ties for one in found.rounds] == [one.ties for one in whole.rounds]
    assert sum(one.n_stopped_early for one in found.rounds) > 0 == sum(one.n_stopped_early for one in whole.rounds)


def test_work_is_what_was_computed(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "run", plan_batching="single") as job:
        found = search_plans(job)
        examples = len(job.search["ood"].examples)
    first = found.rounds[0]
    assert first.work is not None
    whole = count_layers_computed(tuple(trial.plan for trial in first.trials)) * examples
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
            plan_batching=way,
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
    show_run(ran["stacked"], screen)
    assert line in screen.export_text()
    assert line in (tmp_path / "stacked" / "report.html").read_text().replace("&#39;", "'")
    assert "plans ran stacked" not in (tmp_path / "single" / "report.html").read_text()
    assert read_run(tmp_path / "stacked").cost.difference == found


def test_a_race_stops_hopeless_plans(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "race", race=True) as job:
        found = search_plans(job)
        cut = {example.id for example in job.search["ood"].examples}
    with job_of(data, tmp_path / "exact") as job:
        exact = search_plans(job)
    assert len(cut) > 200
    assert found.rounds[0].winner.plan == exact.rounds[0].winner.plan
    assert sum(one.n_stopped_early for one in found.rounds) > 0
    for one in found.rounds:
        assert one.winner.n_scored is None


def test_the_checks_before_a_race_read_its_first_batches(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapioca.session.preflight.MAX_PROBED", 20)
    with job_of(data, tmp_path / "race", race=True, max_drops=1) as job:
        job.space = restrict_sizes(job)
        checks = run_preflight(job)
        batches = make_batches(job.search["ood"], 8, job.config.order_seed)
        drop = checks["ood"].reference_drop
        known = [job.store.recall(drop, batch.digest) is not None for batch in batches]
        assert known == [True] * 3 + [False] * (len(batches) - 3)  # 20 examples in batches of 8
        answers = job.store.totals()[1]
        assert answers == len(job.search["ood"].examples) + 3 * 24
        monkeypatch.setattr("tapioca.commands.prune.search._make_race", lambda *_: None)
        run_search(job)
        assert job.store.totals()[1] == 5 * len(job.search["ood"].examples)


def test_the_page_says_what_was_stopped_and_computed(data: Path, tmp_path: Path) -> None:
    said = {"kind": "label", "label": ("yes", "no"), "template": "{{ prompt }}", "batch_size": 8, "epsilon": 0.0}
    info = tapioca.prune(
        MODEL, word_tokenizer(), task=str(data), out=tmp_path / "run", random_plans=1, progress=False, **said
    )
    (only,) = info.rounds
    page = (tmp_path / "run" / "report.html").read_text()
    assert only.work is not None
    assert only.n_stopped_early > 0
    assert (
        f"<td>{only.n_stopped_early}</td>\n<td>{format_quantity(only.work.layer_tokens)}</td><td>{format_flops(only.work.flops)}</td>"
        in page
    )
    assert "Plans stopped early have no point" in page
    assert "layers dropped" in page
    assert "branches dropped" not in page


def test_a_race_belongs_to_tales_search() -> None:
    with pytest.raises(UsageError, match="--race belongs to --criterion tale, got sleb"):
        criterion_from_config(PruneConfig(model="m", task="t", race=True, criterion="sleb"))


def test_a_race_over_errors_says_where_differences_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the screen, the page and in the record; the same bound and the same plans when the run is resumed."""
    argv = ["prune", "learner", "--task", NOISY, "--race", "--out", str(tmp_path / "run"), *LEARNER]
    assert main(argv) == 0
    out, _ = capsys.readouterr()
    info = read_run(tmp_path / "run")
    (only,) = info.rounds
    model, task = load(PACKAGED["learner"]).model, load_lab_task(NOISY)
    task, _ = split(task, search_groups([task.examples], 0.5, 0))
    singles = [Plan.drop(8, [layer]) for layer in range(8)]
    scores = evaluate(model, task, [Plan.full(8), *singles], batch_size=10).values
    known = scores[[0, 3, 5, 7]]  # the full model, and drops a quarter, half and three quarters up
    apart = [np.abs(known[one] - known[other]) for one in range(4) for other in range(one)]
    assert only.bound == pytest.approx(np.quantile(apart, 0.99), rel=1e-4)
    bound = f"{only.bound:.3g}"
    assert f"race: differences in squared error beyond {bound} are cut to {bound} when plans are stopped" in out
    said = f"ace: differences in squared error beyond {bound} were cut to {bound} when plans were stopped"
    assert f"r{said}; winners were chosen by whole scores" in out
    assert f"R{said}" in (tmp_path / "run" / "report.html").read_text()
    assert only.winner.plan == singles[int(scores[1:].mean(1).argmax())]
    assert only.winner.score == pytest.approx(scores[1:].mean(1).max())
    assert only.n_stopped_early >= 2
    assert only.work is not None
    assert only.work.layer_forwards < 0.9 * count_layers_computed(tuple(singles)) * 100
    assert main(argv) == 0
    assert read_run(tmp_path / "run") == info


def test_without_race_errors_are_scored_whole(tmp_path: Path) -> None:
    config = PruneConfig(model="learner", task=NOISY, out=tmp_path / "run", batch_size=75, max_drops=1)
    with open_run(config, NullProgress()) as job:
        found = search_plans(job)
    (only,) = found.rounds
    assert (only.n_stopped_early, only.bound) == (0, None)


def test_weights_of_a_race_are_in_the_order_drawn(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "run", race=True, score="likelihood") as job:
        task = job.search["ood"]
        heavy = task.select_examples(replace(one, weight=1.0 + at) for at, one in enumerate(task.examples))
        race = _make_race(replace(job, search={"ood": heavy}), 4, 0.5)
    order = np.random.default_rng(job.config.seed).permutation(len(heavy.examples))
    assert race is not None
    assert (race.bound, race.delta) == (0.5, 0.05)
    assert race.weights == pytest.approx((1.0 + order) / (1.0 + order).mean())


def test_where_checked_drops_change_nothing_there_is_no_race(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with job_of(data, tmp_path / "run", race=True, score="likelihood") as job:
        examples = len(job.search["ood"].examples)
        monkeypatch.setattr(job, "evaluate", lambda *_: SimpleNamespace(values=np.full((4, examples), -2.0)))
        monkeypatch.setattr(job.progress, "note", said.append)
        assert _measure_race_bound(job) is None
        assert _make_race(job, 4, None) is None
    (line,) = said
    assert line == f"race: nearly all differences in {job.metric.name} are 0 under the checked drops, so none is run"


@pytest.mark.parametrize("text", ["0", "much", "-1GiB"])
def test_a_memory_is_a_size(text: str) -> None:
    with pytest.raises(UsageError, match="--state-memory"):
        PruneConfig(model="m", task="t", state_memory=text)
    assert PruneConfig(model="m", task="t", state_memory="1.5GiB").state_memory_bytes == 3 * 2**29


def test_memory_changes_no_answer_and_too_little_is_one_line(data: Path, tmp_path: Path) -> None:
    with job_of(data, tmp_path / "little", state_memory="40KiB") as job:
        little = search_plans(job)
    with job_of(data, tmp_path / "much") as job:
        much = search_plans(job)
    assert little.path == much.path
