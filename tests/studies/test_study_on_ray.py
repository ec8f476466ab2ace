"""A study on Ray: the same files as without it, whichever way it was begun and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from reliability.comparable import list_differences
from support import tiny_study
from support.lives import Lives

from tapioca.cli.main import main
from tapioca.errors import ModelError, StoreError
from tapioca.models.learner import Learner, learner_config
from tapioca.studies.measure.model import list_versions
from tapioca.studies.measure.work import ModelWork
from tapioca.studies.ray_workers import MeasureJob
from tapioca.studies.read import read_study

STUDY = {
    **tiny_study.STUDY,
    "title": "Two learners of nothing",
    "min_models": 2,
    "settings": [
        {
            "name": "tiny",
            "title": "learners of nothing",
            "models": ["models/a", "models/b"],
            "id": "lab:id",
            "fixed": 0,
            "shifts": {
                kind: [f"lab:{kind}={strength}" for strength in (1, 3)] for kind in ("target_offset", "rule_offset")
            },
            "controls": ["rule_offset"],
            "tuned": {"target_offset": "lab:target_offset=2"},
        }
    ],
}
FILES = 2 * (5 + 1 + 4)
"""Of both models: cells, doses, and cells of tuned models."""
LINE = ["study", "study.yaml", "--out", "out", "--workers", "2"]
RAY = ["--ray", "local"]


def make_study(folder: Path) -> Path:
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        Learner(learner_config(3, 16, 2)).save_pretrained(folder / "models" / name)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return folder / "study.yaml"


def make_lives(folder: Path) -> Lives:
    lives = Lives(folder, LINE)
    make_study(folder)
    return lives


def list_measured(lives: Lives) -> dict[Path, bytes]:
    """The files that are there, which say how long each took."""
    paths = lives.folder.glob("out/tiny/**/*.npz")
    return {path: path.read_bytes() for path in paths if ".tapioca-" not in str(path)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a study leaves that knows nothing of Ray."""
    lives = make_lives(tmp_path_factory.mktemp("alone"))
    assert lives.end(lives.begin()) == 0, lives.log()
    assert len(list_measured(lives)) == FILES
    return lives.describe()


@pytest.fixture
def lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lives:
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # Ray's sockets need short names, which pytest's folders are not
    return make_lives(tmp_path / "life")


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(lives: Lives, expected: dict[str, Any]) -> None:
    lives.line = [*LINE, *RAY]
    process = lives.begin()
    lives.wait_until(lambda: len(list_measured(lives)) >= 3, process)
    kept = list_measured(lives)
    [worker, *_] = [
        child
        for child in psutil.Process(process).children(recursive=True)
        if "".join(child.cmdline()).startswith("ray::_work")
    ]
    os.kill(worker.pid, signal.SIGKILL)
    assert lives.end(process) == 0, lives.log()
    assert "is lost; another goes on with it" in " ".join(lives.log().split())
    assert list_differences(expected, lives.describe()) == []
    measured = list_measured(lives)
    assert all(measured[path] == content for path, content in kept.items())


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(RAY, []), ([], RAY)])
def test_a_study_goes_on_with_ray_or_without(
    lives: Lives, expected: dict[str, Any], first: list[str], then: list[str]
) -> None:
    lives.line = [*LINE, *first]
    process = lives.begin()
    lives.wait_until(lambda: len(list_measured(lives)) >= 3, process)
    os.killpg(process, signal.SIGINT)
    assert lives.end(process) == 130
    last = "stopped; every finished measurement is stored, and the same command goes on from there"
    assert lives.log().splitlines()[-1] == last
    kept = list_measured(lives)
    assert 3 <= len(kept) < FILES
    lives.line = [*LINE, *then]
    assert lives.end(lives.begin()) == 0, lives.log()
    assert list_differences(expected, lives.describe()) == []
    measured = list_measured(lives)
    assert all(measured[path] == content for path, content in kept.items())


@pytest.fixture
def job(tmp_path: Path) -> MeasureJob:
    """The job of the first model, in a folder that is held."""
    study = read_study(make_study(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lock").write_bytes(b"this command")
    part = ModelWork(study, study.settings[0], 0, tmp_path, tmp_path / "out")
    return MeasureJob(part, tmp_path / "out" / "lock", b"this command", list_versions())


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"another")])
def test_a_worker_that_does_not_see_the_folder_is_refused(job: MeasureJob, change: Callable[[Path], Any]) -> None:
    change(job.lock)
    with pytest.raises(StoreError) as raised:
        next(job())
    assert str(raised.value).endswith(
        f" does not see {job.lock.parent}; expected a folder that all machines of the cluster share, give one with --out"
    )


def test_a_worker_of_other_versions_is_refused(job: MeasureJob) -> None:
    with pytest.raises(ModelError) as raised:
        next(MeasureJob(job.part, job.lock, job.lock_text, ["1", "2", "3"])())
    assert str(raised.value).endswith(
        f" has tapioca, torch, transformers {', '.join(list_versions())}, expected 1, 2, 3 as where the command runs; make "
        "both the same"
    )


def test_a_worker_names_every_file_as_it_is_there(job: MeasureJob) -> None:
    assert next(job()) == f"tiny a {next(iter(job.part.files)).stem}"


def test_a_study_asks_for_a_cluster_that_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    assert main(["study", str(make_study(tmp_path)), "--out", str(tmp_path / "out"), "--ray", "127.0.0.1:1"]) == 2
    assert "error: --ray 127.0.0.1:1: no answer from there" in " ".join(capsys.readouterr().err.split())
