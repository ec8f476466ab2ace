"""What each worker has of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tapioca.errors import UsageError

CORES = 4
"""Of a worker without a GPU, where nobody says how many workers there are to be."""


@dataclass(frozen=True)
class Share:
    """What each worker has of a cluster.

    Attributes:
        workers: how many there are.
        cpus, gpus: of each.
        threads: of torch in each: no more than this process has, since how many there are can change the rounding.
    """

    workers: int
    cpus: float
    gpus: int
    threads: int

    @classmethod
    def choose(cls, nodes: list[dict[str, Any]], n_workers: int | None, on_gpu: bool) -> Share:
        """One worker for each GPU, or for every `CORES` cores, or as many as are asked for.

        Args:
            nodes: what each machine of the cluster has, as Ray names it.
            n_workers: how many are asked for.
            on_gpu: whether the model of this process is on one, where those of workers must be too.

        Raises:
            UsageError: there are not so many GPUs or cores.
        """
        counts = [int(node.get("GPU" if on_gpu else "CPU", 0)) for node in nodes]
        workers = n_workers or (sum(counts) if on_gpu else sum(max(1, count // CORES) for count in counts if count))
        each = next(
            (size for size in range(max(counts, default=0), 0, -1) if sum(n // size for n in counts) >= workers), 0
        )
        if not (workers and each):
            kind = "GPUs" if on_gpu else "cores"
            raise UsageError(f"--workers {workers}: the cluster has {sum(counts)} {kind}; ask for at most one for each")
        return cls(workers, 1 if on_gpu else each, int(on_gpu), min(each, torch.get_num_threads()))
