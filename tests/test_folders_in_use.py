"""Every command that works in a folder refuses one that is in use, unless it is told to take it over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.rows import choice_rows
from support.words import word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands import COMMANDS, load_config_class
from tapioca.commands.compensate.config import CompensateConfig
from tapioca.disk import LOCK
from tapioca.errors import StoreError
from tapioca.lab.config import TextConfig, TrainConfig, TuneConfig
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.processes import ProcessName
from tapioca.records import FolderConfig
from tapioca.runs.lock import FolderLock, Holder

TASK = ("--task", "lab:target_offset=2", "--reference", "lab:id", "--limit", "40")
PRUNE = ("prune", "learner", *TASK, "--criterion", "last", "--max-drops", "1", "--random-plans", "1", "--out")
TRAIN = ("lab", "train", "--steps", "2", "--layers", "1", "--width", "8", "--heads", "1", "--batch", "2", "--out")
PLAN = Plan.drop(8, [1]).to_json()


def hold_elsewhere(path: Path) -> None:
    """A lock of a process on another machine."""
    path.parent.mkdir(exist_ok=True)
    name = ProcessName.of_this()._replace(host="00000000")
    path.write_bytes(Holder(name, "node7", "2026-01-31T12:00:00+00:00").to_json())


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(PRUNE, marks=pytest.mark.slow),
        pytest.param(("geometry", "learner", *TASK, "--out"), marks=pytest.mark.slow),
        ("diagnose", "learner", *TASK, "--out"),
        TRAIN,
        pytest.param(("export", "learner", "--plan", PLAN, "--to"), marks=pytest.mark.slow),
        ("study", "quick.yaml", "--out"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_folder_in_use_is_refused_and_can_be_taken_over(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("quick.yaml", "claims.yaml"):  # whose models are not there
        shutil.copy(Path(__file__).parents[1] / "studies" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "out"
    path = tmp_path / f".out{LOCK}" if words[0] == "export" else folder / LOCK
    hold_elsewhere(path)
    assert main([*words, str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{folder} is in use by process {os.getpid()} on node7 since 2026-01-31T12:00:00+00:00 (last sign" in said
    assert said.endswith("if you know that it is gone, say --take-over\n")
    assert main([*words, str(folder), "--take-over"]) == 0
    assert not path.exists()


def test_every_command_with_a_folder_can_take_it_over() -> None:
    configs = [load_config_class(command) for command in COMMANDS.values()]
    assert all(issubclass(config, FolderConfig) for config in (TrainConfig, TuneConfig, TextConfig))
    for config in configs:
        writes = bool({"out", "to"} & config.options().keys()) or config is CompensateConfig  # into its run's folder
        assert ("take_over" in config.options()) == writes, config
        excluded = [name for name, field in config.options().items() if field.exclude]
        assert list(config.options())[len(config.options()) - len(excluded) :] == excluded


def test_two_sessions_of_one_process_on_one_folder(tmp_path: Path) -> None:
    session = tapioca.Session(tiny("llama"), word_tokenizer(), task=choice_rows(40), score="likelihood", progress=False)
    with FolderLock(tmp_path / "run"), pytest.raises(StoreError, match="is in use by this very process; let that end"):
        session.prune(out=tmp_path / "run", criterion="last", max_drops=1, random_plans=0)
    run = session.prune(out=tmp_path / "run", criterion="last", max_drops=1, random_plans=0)
    assert "take-over" not in run.command
    again = session.prune(out=tmp_path / "run", criterion="last", max_drops=1, random_plans=0, take_over=True)
    assert again == run


def test_a_clock_that_goes_backwards_makes_no_negative_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    rows = choice_rows(40)
    session = tapioca.Session(tiny("llama"), word_tokenizer(), task=rows, score="likelihood", progress=False)
    run = session.prune(out=tmp_path / "run", criterion="last", max_drops=1, random_plans=0)
    assert 0 < run.cost.seconds < 600


def hear_ctrl_c() -> None:
    """Which a shell hides from what it runs in the background, and so perhaps from the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("words", [PRUNE, (*TRAIN[:3], "20000", *TRAIN[4:])], ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_second_process_is_refused_and_follows_a_dead_one(
    words: tuple[str, ...], end: signal.Signals, tmp_path: Path
) -> None:
    def begin(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tapioca", *words, str(tmp_path / "out"), *more]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
        )

    def wait_for_lock(process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 120
        while not (path.exists() and f'"pid": {process.pid}' in path.read_text()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.1)

    path = tmp_path / "out" / LOCK
    first = begin()
    wait_for_lock(first)
    first.send_signal(signal.SIGSTOP)
    second = begin()
    said = second.communicate()[1]
    assert second.returncode == 2
    assert f"in use by process {first.pid} on " in said
    first.send_signal(signal.SIGCONT)
    first.send_signal(end)
    first.communicate()
    assert path.exists() == (end == signal.SIGKILL)
    third = begin()
    if words[0] == "lab":
        wait_for_lock(third)
        third.send_signal(signal.SIGINT)
    said = third.communicate()[1]
    assert "in use" not in said
    assert third.returncode == (130 if words[0] == "lab" else 0), said
    assert not path.exists()
