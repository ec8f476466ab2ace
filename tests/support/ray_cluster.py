"""A Ray cluster of this machine in a process of its own, since nothing that has spoken to Ray may be forked.

Run as a script it starts a head without cores, prints its address, and obeys the lines it reads: `join` adds a node of one
core, `leave` ends one at once; it answers each with a line, and ends with its input.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil


class RayCluster:
    """The cluster; use it as a context manager.

    Args:
        n_nodes: beside the head.

    Attributes:
        address: of its head.
    """

    def __init__(self, n_nodes: int = 0):
        self.n_nodes = n_nodes

    def __enter__(self) -> RayCluster:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        command = [sys.executable, str(Path(__file__))]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.address = self._read()
        for _ in range(self.n_nodes):
            self._tell("join")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _read(self) -> str:
        """The next line that begins with our word: Ray prints others."""
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("cluster "):
                return line.split()[1]
        raise AssertionError("the cluster has ended")

    def _tell(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        self._read()

    def list_workers(self) -> list[int]:
        """The processes that hold a model for a command."""
        workers: list[int] = []
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                workers += [child.pid] if "".join(child.cmdline()).startswith("ray::Worker") else []
        return workers

    def join(self) -> None:
        self._tell("join")
        self.n_nodes += 1

    def leave(self) -> None:
        self._tell("leave")
        self.n_nodes -= 1


def main() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    print("cluster", cluster.address, flush=True)
    nodes = []
    for order in sys.stdin:
        if order.strip() == "join":
            nodes.append(cluster.add_node(num_cpus=1))
        else:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        print("cluster", order.strip(), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
