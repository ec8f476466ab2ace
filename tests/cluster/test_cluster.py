"""Runs over a real cluster of two nodes: they leave what a run alone leaves, whatever dies on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from reliability.comparable import list_differences
from support.lives import PROMPTS, Lives
from support.ray_cluster import RayCluster

pytestmark = pytest.mark.slow

LINES = {
    "prune": ["prune", "learner", *PROMPTS, "--out", "out"],
    "race": ["prune", "learner", *PROMPTS, "--race", "--out", "out"],
    "compare": ["compare", "learner", *PROMPTS, "--criteria", "tale,shortgpt", "--drops", "1:2", "--out", "out"],
}
WORKERS = 2


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[RayCluster]:
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: RayCluster) -> RayCluster:
    """A head without cores, and two nodes of one."""
    while running_cluster.n_nodes < WORKERS:
        running_cluster.join()
    return running_cluster


@pytest.fixture(scope="module")
def run_alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a command leaves that one process runs."""
    described: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in described:
            lives = Lives(tmp_path_factory.mktemp(name), LINES[name])
            assert lives.end(lives.begin()) == 0, lives.log()
            described[name] = lives.describe()
        return described[name]

    return run


def spread(folder: Path, name: str, cluster: RayCluster) -> Lives:
    return Lives(folder, [*LINES[name], "--ray", cluster.address, "--workers", str(WORKERS)])


def check_end(lives: Lives, process: int, expected: dict[str, Any]) -> None:
    assert lives.end(process) == 0, lives.log()
    assert list_differences(expected, lives.describe()) == []
    assert set(lives.list_answers().values()) == {1}


@pytest.mark.parametrize("name", LINES)
def test_a_run_on_two_nodes_leaves_what_a_run_alone_leaves(
    name: str, tmp_path: Path, cluster: RayCluster, run_alone: Callable[[str], dict[str, Any]]
) -> None:
    lives = spread(tmp_path / "life", name, cluster)
    check_end(lives, lives.begin(), run_alone(name))


def test_a_killed_worker_is_replaced_and_changes_nothing(
    tmp_path: Path, cluster: RayCluster, run_alone: Callable[[str], dict[str, Any]]
) -> None:
    lives = spread(tmp_path / "life", "prune", cluster)
    process = lives.begin()
    lives.wait_for_answers(10, process)
    os.kill(cluster.list_workers()[0], signal.SIGKILL)
    lives.wait_for_answers(60, process)
    check_end(lives, process, run_alone("prune"))


def test_a_node_that_leaves_changes_nothing(
    tmp_path: Path, cluster: RayCluster, run_alone: Callable[[str], dict[str, Any]]
) -> None:
    lives = spread(tmp_path / "life", "prune", cluster)
    process = lives.begin()
    lives.wait_for_answers(10, process)
    cluster.leave()
    check_end(lives, process, run_alone("prune"))


def test_a_killed_driver_goes_on_where_it_was(
    tmp_path: Path, cluster: RayCluster, run_alone: Callable[[str], dict[str, Any]]
) -> None:
    lives = spread(tmp_path / "life", "race", cluster)
    process = lives.begin()
    lives.wait_for_answers(10, process)
    os.kill(process, signal.SIGKILL)
    assert lives.end(process) == -signal.SIGKILL
    check_end(lives, lives.begin(), run_alone("race"))


def test_more_workers_than_the_cluster_has_cores_are_refused(tmp_path: Path, cluster: RayCluster) -> None:
    lives = spread(tmp_path / "life", "prune", cluster)
    lives.line = [*lives.line, "--workers", "3"]
    assert lives.end(lives.begin()) == 2
    assert "error: --workers 3: the cluster has 2 cores; ask for at most one for each" in lives.log()
