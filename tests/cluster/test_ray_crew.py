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

from tapioca.cluster.ray_crew import LOCAL, Share, connect_ray
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import ModelError, UsageError
from tapioca.models.identity import hash_model
from tapioca.session.folder import describe_setup
from tapioca.session.scorers import WorkerModel, load_configured_model

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
    model, schedule = WorkerModel(config, setup, None, workers=2, batches=3)()
    assert hash_model(model) == setup["model"]
    assert schedule.state_cache
    with pytest.raises(ModelError) as raised:
        WorkerModel(config, {**setup, "model": "0123456789abcdef"}, None, workers=2, batches=3)()
    assert str(raised.value) == (
        f"its model is {setup['model']}, expected 0123456789abcdef as where the command runs; make both the same"
    )
