"""Killed commands go on with the same command, end as if nothing had happened, and leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

import tapioca.commands.export.run
from reliability.comparable import describe_folder, list_differences
from reliability.kills import LINES
from tapioca.commands.export.run import export
from tapioca.lab.config import TrainConfig
from tapioca.lab.train import train
from tapioca.plan import Plan


def kill_this(*arguments: Any, **options: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def save_half_and_die(content: Any, file: Any) -> None:
    file.write(b"half")
    file.flush()
    kill_this()


def run_and_die(function: Callable[..., Any], *arguments: Any) -> None:
    process = get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def list_hidden(*folders: Path) -> list[str]:
    return [path.name for folder in folders for path in folder.glob(".tapioca-*")]


def test_a_training_killed_at_its_first_checkpoint_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(out=tmp_path / "out", steps=3, layers=1, width=8, heads=1, points=4, batch=2)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_half_and_die)
        run_and_die(train, config)
    assert len(list_hidden(config.out)) == 1
    train(config)
    train(config.model_copy(update={"out": tmp_path / "undisturbed"}))
    assert list_differences(describe_folder(tmp_path / "undisturbed"), describe_folder(config.out)) == []


def test_a_killed_export_leaves_nothing_that_a_rerun_does_not_remove(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    plan = Plan.drop(4, (1,))
    with monkeypatch.context() as patch:
        patch.setattr(tapioca.commands.export.run, "compare_reloaded", kill_this)
        run_and_die(export, model_folder, tmp_path / "out", plan)
    assert len(list_hidden(tmp_path)) == 1
    assert len(list_hidden(tmp_path / "tmp")) == 2
    export(model_folder, tmp_path / "out", plan)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tmp"]
    assert list((tmp_path / "tmp").iterdir()) == []


def run_kills(*arguments: str) -> None:
    if arguments[0].startswith("ray ") and find_spec("ray") is None:
        pytest.skip("ray is not installed")
    command = [sys.executable, "-m", "reliability.kills", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", LINES)
def test_a_command_killed_at_random_moments_ends_as_if_undisturbed(command: str) -> None:
    run_kills(command, "--kills", "3")


@pytest.mark.slow
@pytest.mark.parametrize("command", LINES)
def test_a_command_stopped_by_a_signal_says_one_line_and_goes_on(command: str) -> None:
    run_kills(command, "--kills", "3", "--signal", "TERM")
