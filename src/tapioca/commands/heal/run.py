"""From a run's plan to a trained checkpoint, and what it is worth on the rows that the run was judged on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.checkpoints.files import companion_files, copy_files
from tapioca.commands import save_result
from tapioca.commands.export.run import export
from tapioca.commands.heal.config import HealConfig
from tapioca.commands.heal.result import HealResult, Training
from tapioca.commands.heal.rows import HealInputs, load_heal_inputs
from tapioca.commands.prune.result import PruneResult, read_run
from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.result import VersusResult
from tapioca.commands.versus.run import versus
from tapioca.disk import make_folder_atomically
from tapioca.errors import UsageError
from tapioca.heal.losses import LabelLoss, Loss, TeacherLoss
from tapioca.heal.train import TrainingSet, TrainSettings, train_student
from tapioca.models.load import load
from tapioca.progress import SILENT, Progress
from tapioca.records.portable import portable_name
from tapioca.runs.folder import claim_folder
from tapioca.runs.lock import FolderLock
from tapioca.runs.rows import write_seen_rows
from tapioca.session.context import make_header
from tapioca.tasks.base import Task

PRUNED, HEALED, TRAINING = "pruned", "healed", "training"
"""Folders of a healed run: the plan as a checkpoint, the trained one, and checkpoints on the way."""
LEARNING_RATES = {"adapters": 2e-4, "all": 3e-5}


def heal(config: HealConfig, progress: Progress = SILENT) -> HealResult:
    """Train what the plan of a run leaves, write it as an ordinary checkpoint, and judge it.

    Each of these is kept in the folder, so that the same command goes on where it was: the plan's checkpoint, the training's
    last one, the healed model, and every finished batch of the comparisons.

    Raises:
        StoreError: there is no finished run, or it does not say which rows it had.
        UsageError: the run drops nothing.
        DataError: rows to train on are rows that the run is judged on.
    """
    info = read_run(config.run)
    if info.plan.is_full:
        raise UsageError(f"{config.run} drops nothing, so there is nothing to heal; give a run whose plan drops layers")
    inputs = load_heal_inputs(config, progress)
    settings = choose_settings(config)
    with _open_folder(config, inputs, info) as header:
        folder: Path = header["folder"]
        training = _make_checkpoint(config, inputs, info, settings, folder, progress)
        comparisons = {name: _compare(config, inputs, folder, name, progress) for name in COMPARED}
        result = _collect(header, info, training, comparisons)
        save_result("heal", result)
    return result


def choose_settings(config: HealConfig) -> TrainSettings:
    """How the student is trained."""
    rate = config.learning_rate or LEARNING_RATES["all" if config.full else "adapters"]
    return TrainSettings(config.steps, config.batch, rate, 0 if config.full else config.rank, config.seed)


@contextmanager
def _open_folder(config: HealConfig, inputs: HealInputs, info: PruneResult) -> Iterator[dict[str, Any]]:
    """Hold the folder; gives the fields of its `RunHeader`."""
    asked = config.model_dump(mode="json", include={"by", "full", "steps", "batch", "learning_rate", "rank", "seed"})
    data = {name: task.digest for name, task in inputs.training.items()}
    manifest = inputs.run_inputs.make_manifest(inputs.config, plan=info.plan.to_json(), heal=asked, trained_on=data)
    with FolderLock(config.folder, config.take_over):
        header = make_header(
            inputs.config, config.folder, claim_folder(config.folder, manifest), inputs.run_inputs.notes
        )
        yield {**header, "command": config.command()}


def _make_checkpoint(
    config: HealConfig,
    inputs: HealInputs,
    info: PruneResult,
    settings: TrainSettings,
    folder: Path,
    progress: Progress,
) -> Training:
    """The healed model in its folder, trained now unless it is there."""
    if (folder / HEALED).is_dir():
        return Training.model_validate_json((folder / HEALED / "training.json").read_text(encoding="utf-8"))
    if not (folder / PRUNED).is_dir():
        progress.stage("writing the plan as a checkpoint", 0)
        export(info, folder / PRUNED)
    stored = inputs.run_inputs.loaded.model.dtype
    student = load(
        folder / PRUNED, device=inputs.config.device, dtype="float32", trust_remote_code=inputs.config.trust_remote_code
    ).model
    start_time = time.perf_counter()
    sets = [TrainingSet(task.examples, _choose_loss(config, inputs, info, task)) for task in inputs.training.values()]
    healed, losses = train_student(student, sets, settings, folder / TRAINING, progress)
    training = Training(
        by=config.by,
        rank=settings.rank,
        rows={name: len(task.examples) for name, task in inputs.training.items()},
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        losses=losses,
        seconds=time.perf_counter() - start_time,
    )
    with make_folder_atomically(folder / HEALED) as target:
        cast_weights(healed, stored).save_pretrained(target)
        copy_files(folder / PRUNED, companion_files(folder / PRUNED), target)
        write_seen_rows(target, inputs.seen_rows)
        (target / "training.json").write_text(training.model_dump_json(), encoding="utf-8")
    return training


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with weights of a dtype, in place."""
    torch.nn.Module.to(model, dtype)
    return model


def _choose_loss(config: HealConfig, inputs: HealInputs, info: PruneResult, task: Task) -> Loss:
    if config.by == "labels":
        return LabelLoss(task)
    teacher = inputs.run_inputs.loaded.model
    return TeacherLoss(task, teacher.float(), info.plan.order)


ACTIONS = {
    "take B": "take the healed model",
    "take B for OOD traffic only": "take it for OOD traffic only",
    "keep A": "keep the full model",
}
"""What verdicts on two models are called where B is the healed one."""
COMPARED = ("over_full", "over_plan", "plan_over_full")
"""Comparisons of a healed run, by the fields of its record."""


def _compare(config: HealConfig, inputs: HealInputs, folder: Path, name: str, progress: Progress) -> VersusResult:
    """Two of the three models on the test rows of the run."""
    full, pruned, healed = inputs.config.model, str(folder / PRUNED), str(folder / HEALED)
    first, second = {"over_full": (full, healed), "over_plan": (pruned, healed), "plan_over_full": (full, pruned)}[name]
    moved = {option: place for option in ("task", "reference") if (place := getattr(config, option))}
    request = VersusConfig(model=first, other=second, run=config.run, out=folder / name, **moved)
    return versus(request, progress)


def _collect(
    header: dict[str, Any], info: PruneResult, training: Training, found: dict[str, VersusResult]
) -> HealResult:
    over_full, plan_over_full = found["over_full"], found["plan_over_full"]
    verdict = over_full.verdict.model_copy(update={"action": ACTIONS[over_full.verdict.action]})
    return HealResult(
        **header,
        run=portable_name(str(info.folder)),
        plan=info.plan,
        training=training,
        checkpoint=HEALED,
        metric=over_full.metric,
        models=(over_full.models[0], plan_over_full.models[1], over_full.models[1]),
        verdict=verdict,
        **{name: comparison.comparisons for name, comparison in found.items()},
    )
