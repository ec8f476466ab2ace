"""Full and shorter models timed in turn, size by size; what is timed already in the folder is not timed again."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tapioca.commands import save_result
from tapioca.commands.bench.config import BenchConfig
from tapioca.commands.bench.result import BenchResult, MachineRecord, SizeTiming
from tapioca.commands.bench.sides import GivenModels, OpenSides, Side, explain_live_costs, open_sides
from tapioca.commands.bench.size import Job, list_jobs, time_size
from tapioca.disk import make_folder, write_json
from tapioca.errors import StoreError
from tapioca.machine import describe_machine
from tapioca.models.identity import hash_model
from tapioca.models.inputs import find_input_device
from tapioca.progress import SILENT, Progress
from tapioca.reading import explain_damage
from tapioca.records.portable import portable_name
from tapioca.runs.fingerprint import add_fingerprint, fingerprint
from tapioca.runs.folder import claim_folder, read_json
from tapioca.runs.lock import FolderLock
from tapioca.session.context import RunInputs
from tapioca.session.folder import RUNS_FOLDER


def bench(
    config: BenchConfig, progress: Progress = SILENT, inputs: RunInputs | GivenModels | None = None
) -> BenchResult:
    """Time a model, the same under a plan and a checkpoint of that plan, or another model, in turn in this process.

    Raises:
        UsageError: there is nothing to compare with, a model does not read a size, or the folder belongs to another run.
    """
    with open_sides(config, progress, inputs) as opened:
        jobs = list_jobs(config, opened.sides)
        full = opened.sides[0]
        for note in opened.notes:
            progress.note(note)
        model_hash = inputs.model_hash if isinstance(inputs, RunInputs) else hash_model(full.model)
        machine = record_machine(full)
        manifest = _make_manifest(config, opened, model_hash, machine)
        folder = config.out or RUNS_FOLDER / f"{Path(config.model).name}-bench-{fingerprint(manifest)[:8]}"
        with FolderLock(folder, config.take_over) as lock:
            claim_folder(folder, manifest)
            sizes = [
                _recall_size(folder, job, opened) or _time_and_keep(folder, job, opened, config, progress, lock)
                for job in jobs
            ]
            result = BenchResult(
                folder=folder,
                command=config.command(),
                model=portable_name(config.model),
                model_hash=model_hash,
                machine=machine,
                writes=jobs[0].new_tokens > 0,
                precision=config.precision,
                max_rounds=config.max_rounds,
                sides=tuple(side.about for side in opened.sides),
                sizes=tuple(sizes),
                difference=opened.difference,
                live_costs=next((explain_live_costs(side.plan) for side in opened.sides if side.about.plan), ""),
                notes=opened.notes,
            )
            save_result("bench", result)
    return result


def record_machine(side: Side) -> MachineRecord:
    """What computes for a side."""
    device = find_input_device(side.model).type
    return MachineRecord(device=device, **describe_machine(device)._asdict())


def _time_and_keep(
    folder: Path, job: Job, opened: OpenSides, config: BenchConfig, progress: Progress, lock: FolderLock
) -> SizeTiming:
    """Time a size, and store what was found."""
    timing = time_size(job, opened.sides, config, progress)
    lock.check()
    make_folder((folder / job.file).parent)
    write_json(folder / job.file, add_fingerprint(timing.model_dump(mode="json")))
    return timing


def _recall_size(folder: Path, job: Job, opened: OpenSides) -> SizeTiming | None:
    """What was timed of a size by an earlier call; None where it was not.

    Raises:
        StoreError: its file is damaged.
    """
    path = folder / job.file
    if not os.path.lexists(path):
        return None
    remedy = f"delete {path} and run the same command again"
    content = read_json(folder, job.file, remedy)
    with explain_damage(path, StoreError, remedy):
        timing = SizeTiming(**content)
    if [*timing.held_bytes] != [side.name for side in opened.sides] or timing.new_tokens != job.new_tokens:
        raise StoreError(f"{path} is of other models or another request; {remedy}")
    return timing


def _make_manifest(config: BenchConfig, opened: OpenSides, model_hash: str, machine: MachineRecord) -> dict[str, Any]:
    """Everything that could change a time; the grid says only how many there are."""
    full, *others = opened.sides
    plan = next((side.about.plan for side in others if side.about.plan), None)
    second = [hash_model(side.model) for side in others if config.other and side.name != "plan"]
    return {
        "model": model_hash,
        "second": second[0] if second else None,
        "plan": plan and plan.model_dump(mode="json"),
        "dtype": full.about.dtype,
        "attention": full.about.attention,
        "machine": machine.model_dump(mode="json"),
        "settings": config.model_dump(mode="json", include={"new_tokens", "precision", "max_rounds"}),
        "versions": {"tapioca": version("tapioca-prune")},
    }
