"""The models of a study, each measured by a worker of a Ray cluster as a process of this machine would."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tapioca.cluster.connect import STARTING, connect_ray, list_nodes
from tapioca.cluster.jobs import run_jobs
from tapioca.cluster.share import Share
from tapioca.errors import ModelError, StoreError
from tapioca.progress import Progress
from tapioca.runs.lock import FolderLock
from tapioca.studies.measure.model import list_versions
from tapioca.studies.measure.work import ModelWork


@dataclass(frozen=True)
class MeasureJob:
    """What a worker is to measure, once it has seen that it is where the command is.

    Attributes:
        part: a model, with paths that hold in another working folder.
        lock, lock_text: the file that holds the study's folder, and what is in it.
        versions: of what decides numbers, where the command runs.
    """

    part: ModelWork
    lock: Path
    lock_text: bytes
    versions: list[str]

    def __call__(self) -> Iterator[str]:
        """Measure; names every file that is there.

        Raises:
            TapiocaError: one line about what is wrong with the model, the data, or this machine.
        """
        if (versions := list_versions()) != self.versions:
            raise ModelError(
                f"{platform.node()} has tapioca, torch, transformers {', '.join(versions)}, expected "
                f"{', '.join(self.versions)} as where the command runs; make both the same"
            )
        if not self.lock.is_file() or self.lock.read_bytes() != self.lock_text:
            raise StoreError(
                f"{platform.node()} does not see {self.lock.parent}; expected a folder that all machines of the cluster "
                "share, give one with --out"
            )
        for path in self.part.measure():
            yield self.part.name_file(path)


def measure_parts_on_ray(
    parts: list[ModelWork], address: str, workers: int | None, watcher: Progress, lock: FolderLock
) -> None:
    """Measure all models on a cluster, several at once.

    Args:
        parts: the models.
        address: of the cluster.
        workers: how many at once; by default one for each GPU, or for each core where this machine has none.
        watcher: told every file that is there.
        lock: holds the study's folder.

    Raises:
        UsageError: the cluster cannot be reached, or has no room for the workers.
        TapiocaError: one line about what is wrong with a model, the data or a machine.
    """
    if not parts:
        return
    watcher.stage(STARTING, 0)
    on_gpu, n_wanted = torch.cuda.is_available(), workers and min(workers, len(parts))
    with connect_ray(address, n_wanted, watcher.shows_logs) as ray:
        nodes = list_nodes(ray)
        n_most = sum(int(node.get("GPU" if on_gpu else "CPU", 0)) for node in nodes)
        share = Share.choose(nodes, n_wanted or min(n_most, len(parts)), on_gpu)
        watcher.note(f"models are measured by {share.workers} Ray workers of {share.threads} threads")
        watcher.stage("measuring", sum(len(part.files) for part in parts))
        jobs = {f"{part.setting.name} {part.model.name}": _make_job(part, lock) for part in parts}
        for files in run_jobs(ray, share, jobs, watcher.note):
            lock.check()
            for file in files:
                watcher.status(file)
                watcher.advance(1)


def _make_job(part: ModelWork, lock: FolderLock) -> MeasureJob:
    part = replace(part, base=part.base.resolve(), out=part.out.resolve())
    return MeasureJob(part, lock.path.resolve(), lock.path.read_bytes(), list_versions())
