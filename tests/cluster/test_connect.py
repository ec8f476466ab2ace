"""What is refused before Ray is asked for anything, and what each worker has of a cluster."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from tapioca.cluster.connect import LOCAL, connect_ray
from tapioca.cluster.share import Share
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import ModelError, UsageError
from tapioca.models.identity import hash_model
from tapioca.records.config import BaseConfig
from tapioca.report.screen import ScreenOptions, open_screen
from tapioca.session.folder import describe_setup
from tapioca.session.scorers import WorkerModel, load_configured_model
from tapioca.studies.spec import StudyConfig

ADVICE = "give the HOST:PORT that `ray start --head` printed, on a machine of that cluster, or --ray local for this machine alone"


@pytest.mark.parametrize(
    ("nodes", "n_workers", "on_gpu", "expected"),
    [
        ([{"CPU": 2.0}], 2, False, (2, 1, 0)),
        ([{"CPU": 4.0}, {"CPU": 2.0}], 3, False, (3, 2, 0)),
        ([{"CPU": 5.0}, {"CPU": 1.0}], 2, False, (2, 2, 0)),
        ([{"CPU": 16.0}, {"CPU": 2.0}], None, False, (5, 3, 0)),
        ([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0}], None, True, (2, 1, 1)),
        ([{"CPU": 16.0, "GPU": 2.0}], 1, True, (1, 1, 1)),
    ],
)
def test_each_worker_has_a_gpu_or_a_share_of_the_cores(
    nodes: list[dict[str, Any]], n_workers: int | None, on_gpu: bool, expected: tuple[int, int, int]
) -> None:
    share = Share.choose(nodes, n_workers, on_gpu)
    assert (share.workers, share.cpus, share.gpus) == expected
    assert share.threads == 1  # as many as this process has


@pytest.mark.parametrize(
    ("n_workers", "on_gpu", "message"),
    [
        (7, False, "--workers 7: the cluster has 6 cores; ask for at most one for each"),
        (2, True, "--workers 2: the cluster has 1 GPUs; ask for at most one for each"),
    ],
)
def test_more_workers_than_there_is_room_for_are_refused(n_workers: int, on_gpu: bool, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Share.choose([{"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0}], n_workers, on_gpu)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "--ray 127.0.0.1:1: no answer from there ([Errno 111] Connection refused); "),
        ("nowhere", "--ray nowhere is no address; "),
        ("ray://127.0.0.1:10001", "--ray ray://127.0.0.1:10001 is no address; "),
        ("127.0.0.1:99999", "--ray 127.0.0.1:99999: no answer from there ("),
    ],
)
def test_a_wrong_address_is_one_line(address: str, reason: str) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UsageError) as raised, connect_ray(address, None):
        pass
    assert str(raised.value).startswith(reason)
    assert str(raised.value).endswith(ADVICE)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_another_program_at_the_address_is_one_line() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(UsageError) as raised, connect_ray(f"127.0.0.1:{server.server_port}", None):
                pass
        finally:
            server.shutdown()
    assert "no answer from there (whoever listens is no head of Ray's); " in str(raised.value)


@pytest.mark.parametrize("workers", [0, -1])
@pytest.mark.parametrize("config", [PruneConfig, StudyConfig])
def test_there_is_a_worker_or_more(config: type[BaseConfig], workers: int) -> None:
    asked = {"file": Path("study.yaml")} if config is StudyConfig else {"model": "learner", "task": "lab:id"}
    with pytest.raises(UsageError) as raised:
        config(**asked, ray="local", workers=workers)
    assert str(raised.value) == f"--workers: Input should be greater than or equal to 1, got {workers}"


@pytest.mark.parametrize("verbose", [False, True])
def test_workers_are_heard_where_lines_are_asked_for(verbose: bool) -> None:
    with open_screen(Console(quiet=True), ScreenOptions(quiet=not verbose, verbose=verbose)) as screen:
        assert screen.shows_logs is verbose


class NoRay:
    """Ray where it does not start."""

    def __init__(self, error: Exception):
        self.error, self.starts = error, 0

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.starts += 1
        raise self.error

    def shutdown(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "starts", "message"),
    [
        (
            Exception("The current node timed out during startup."),
            3,
            r"--ray local: Ray did not start in 3 tries and \d+ s \(The current node timed out during startup\.\); "
            "run the same command again when this machine is less busy, or without --ray",
        ),
        (
            OSError("AF_UNIX path length cannot exceed 107 bytes"),
            1,
            "--ray local: AF_UNIX path length cannot exceed 107 bytes; name a folder for Ray's files with the environment "
            "variable RAY_TMPDIR, such as /tmp",
        ),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, starts: int, message: str
) -> None:
    ray = NoRay(error)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(UsageError, match=f"^{message}$"), connect_ray(LOCAL, None):
        pass
    assert ray.starts == starts


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as raised, connect_ray(LOCAL, None):
        pass
    assert str(raised.value) == "--ray needs the package ray; install it with: pip install 'tapioca-prune[ray]'"


def test_workers_are_those_of_ray_and_no_part_of_what_is_asked() -> None:
    with pytest.raises(UsageError) as raised:
        PruneConfig(model="learner", task="lab:id", workers=2)
    assert str(raised.value) == (
        "--workers: they are those of --ray, add --ray local for processes of this machine, got 2"
    )
    alone, spread = (
        PruneConfig(model="learner", task="lab:id", **given) for given in ({}, {"ray": "local", "workers": 2})
    )
    assert spread.model_dump() == alone.model_dump()
    assert spread.command() == alone.command()


def test_a_worker_whose_model_is_another_is_refused(model_folder: Path) -> None:
    config = PruneConfig(model=str(model_folder), task="lab:id")
    loaded = load_configured_model(config)
    setup = describe_setup(config, loaded, hash_model(loaded.model))
    model, schedule = WorkerModel(config, "the model", setup, None, workers=2, batches=3)()
    assert model.name_or_path == "the model"
    assert hash_model(model) == setup["model"]
    assert schedule.state_cache
    with pytest.raises(ModelError) as raised:
        WorkerModel(config, "the model", {**setup, "model": "0123456789abcdef"}, None, workers=2, batches=3)()
    assert str(raised.value) == (
        f"its model is {setup['model']}, expected 0123456789abcdef as where the command runs; make both the same"
    )
