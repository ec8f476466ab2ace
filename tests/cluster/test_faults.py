"""What goes wrong with workers that Ray starts on this machine: as in one process, in one line, and nothing is left behind."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from reliability.comparable import list_differences
from support.lives import PROMPTS, Lives
from support.rows import choice_rows, write_lines
from support.scarce_memory import OpenScarceModel
from support.talk import Talk
from support.words import word_tokenizer

from tapioca.cluster.connect import LOCAL, connect_ray
from tapioca.cluster.dispatch import Dispatcher
from tapioca.cluster.jobs import run_jobs
from tapioca.cluster.ray_crew import RayCrew
from tapioca.cluster.share import Share
from tapioca.errors import DataError, ModelError
from tapioca.evaluate import evaluate
from tapioca.models.find import find_layers
from tapioca.models.learner import Learner, learner_config
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

pytestmark = pytest.mark.slow

RAY = ["--ray", "local", "--workers", "2"]
PLANS = [Plan.full(4), *(Plan.drop(4, [layer]) for layer in range(4))]


@pytest.fixture(autouse=True)
def _ray_is_installed() -> None:
    pytest.importorskip("ray", reason="ray is not installed")


@pytest.fixture(scope="module")
def ray() -> Iterator[ModuleType]:
    """With workers that can import what is in `support`."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with connect_ray(LOCAL, 2, shows_logs=True) as connected:
            yield connected


@pytest.fixture
def task(tmp_path: Path) -> Task:
    path = write_lines(tmp_path / "choice.jsonl", choice_rows(19))
    return load_task(str(path), Encoder(word_tokenizer(), 128), {})


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for lives; Ray's sockets need short names, which pytest's folders are not."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    return tmp_path_factory.mktemp("life")


SHARE = Share(workers=1, cpus=1, gpus=0, threads=1)


def test_a_job_is_done_and_what_it_prints_is_seen(ray: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    names = [name for news in run_jobs(ray, SHARE, {"a": Talk(), "b": Talk()}, print) for name in sorted(news)]
    assert names == ["said", "done"]  # the second says nothing new
    printed, deadline = "", time.monotonic() + 20
    while "a line of a worker" not in printed and time.monotonic() < deadline:
        time.sleep(0.2)
        printed += "".join(capfd.readouterr())
    assert "a line of a worker" in printed


def test_what_a_job_raises_is_raised_here(ray: ModuleType) -> None:
    with pytest.raises(DataError) as raised:
        list(run_jobs(ray, SHARE, {"a": Talk("refuse")}, print))
    assert str(raised.value) == "rows.jsonl:3: no answer"


def test_a_job_that_kills_whoever_does_it_ends_the_run(ray: ModuleType) -> None:
    told: list[str] = []
    with pytest.raises(ModelError) as raised:
        list(run_jobs(ray, SHARE, {"a": Talk("die")}, told.append))
    assert str(raised.value) == "workers that measured a were killed 3 times (out of memory?); use fewer --workers"
    assert told == ["the worker that measured a is lost; another goes on with it"] * 2


def test_a_worker_out_of_memory_runs_fewer_plans_at_once(ray: ModuleType, task: Task) -> None:
    model = tiny("llama")
    expected = evaluate(model, task, PLANS, batch_size=4)
    scorer = Dispatcher(RayCrew(ray, Share(2, 1, 0, 1), OpenScarceModel(streams=2), task))
    assert np.array_equal(evaluate(model, task, PLANS, batch_size=4, scorer=scorer).values, expected.values)


def test_a_plan_that_does_not_fit_in_a_worker_is_the_line_of_one_process(ray: ModuleType, task: Task) -> None:
    scorer = Dispatcher(RayCrew(ray, Share(2, 1, 0, 1), OpenScarceModel(streams=0), task))
    with pytest.raises(ModelError) as raised:
        evaluate(tiny("llama"), task, PLANS, batch_size=4, scorer=scorer)
    assert re.fullmatch(
        r"worker \d on \S+: cpu has no memory for 8 rows of \d+ tokens under one plan; halve --batch-size",
        str(raised.value),
    )


def test_a_worker_that_cannot_read_its_model_is_one_line(ray: ModuleType, task: Task) -> None:
    class Unreadable:
        def __reduce__(self) -> tuple[object, ...]:
            return __import__, ("nowhere",)

    scorer = Dispatcher(RayCrew(ray, Share(2, 1, 0, 1), Unreadable(), task))  # type: ignore[arg-type]
    with pytest.raises(ModelError) as raised:
        evaluate(tiny("llama"), task, PLANS, batch_size=4, scorer=scorer)
    assert re.fullmatch(
        r"worker \d cannot read what it was sent \(System error: No module named 'nowhere'\); install the same packages on "
        "every machine",
        str(raised.value),
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_command_leaves_no_ray_behind_and_goes_on(short_folder: Path, sent: signal.Signals) -> None:
    alone = Lives(short_folder / "alone", ["prune", "learner", *PROMPTS, "--out", "out"])
    assert alone.end(alone.begin()) == 0, alone.log()
    spread = Lives(short_folder / "ray", [*alone.line, *RAY])
    process = spread.begin()
    spread.wait_for_answers(10, process)
    assert any("raylet" in line for line in spread.list_processes())
    os.killpg(process, sent)  # as a terminal does
    code, deadline = spread.end(process), time.monotonic() + 20
    if sent == signal.SIGINT:
        assert code == 128 + sent
        last = "stopped; every finished batch is stored, and the same command goes on from there"
        assert spread.log().splitlines()[-1] == last
        assert "Traceback" not in spread.log()
    else:
        assert code == -sent
    while spread.list_processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert spread.list_processes() == []
    assert spread.end(spread.begin()) == 0, spread.log()
    assert list_differences(alone.describe(), spread.describe()) == []
    assert set(spread.list_answers().values()) == {1}


def test_a_damaged_model_is_the_line_of_one_process(short_folder: Path) -> None:
    torch.manual_seed(0)
    model = Learner(learner_config(3, 16, 2))
    with torch.no_grad():
        next(find_layers(model).blocks[1].parameters()).fill_(math.nan)
    lines = []
    for name, more in (("alone", []), ("ray", RAY)):
        lives = Lives(short_folder / name, ["prune", "model", *PROMPTS, "--out", "out", *more])
        model.save_pretrained(lives.folder / "model")
        assert lives.end(lives.begin()) == 2
        assert lives.log().count("error:") == 1
        assert "Traceback" not in lives.log()
        lines.append(" ".join(lives.log().partition("error: ")[2].split()))
    assert "NaN or infinity" in lines[0]
    assert re.sub(r"^worker \d on \S+: ", "", lines[1]) == lines[0]
