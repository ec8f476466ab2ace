"""What healing works with, and its steps, each of which is kept in its folder."""

import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from transformers import PreTrainedModel

from tapioca.checkpoints.files import companion_files, copy_files
from tapioca.commands.export.run import export
from tapioca.commands.export.source import ExportSource
from tapioca.commands.heal.config import HealConfig
from tapioca.commands.heal.result import Training
from tapioca.commands.heal.rows import HealInputs
from tapioca.commands.prune.config import PruneConfig
from tapioca.commands.prune.result import PruneResult
from tapioca.commands.prune.run import prune
from tapioca.commands.versus.config import VersusConfig
from tapioca.commands.versus.result import VersusResult
from tapioca.commands.versus.run import versus
from tapioca.disk import make_folder_atomically, remove_folder, write_text
from tapioca.errors import StoreError, UsageError
from tapioca.healing.answers import answer_by_teacher
from tapioca.healing.losses import LabelLoss, TeacherLoss
from tapioca.healing.train import TrainingSet, TrainSettings, train_student
from tapioca.hub import hide_progress_bars
from tapioca.models.load import load
from tapioca.plan import Plan
from tapioca.progress import Progress
from tapioca.reading import explain_damage, read_object
from tapioca.runs.rows import read_seen_rows, write_seen_rows
from tapioca.tasks.base import Task
from tapioca.tasks.split import refuse_seen

TRAINING = "training.json"
"""How a checkpoint was trained, beside its weights."""


@dataclass(frozen=True, eq=False)
class HealJob:
    """A run whose plan is healed.

    Attributes:
        config: the request.
        inputs: the full model and the rows.
        info: the run.
        folder: where all goes.
    """

    config: HealConfig
    inputs: HealInputs
    info: PruneResult
    settings: TrainSettings
    folder: Path
    progress: Progress

    @property
    def full_model(self) -> str:
        """The full model, as the run names it."""
        return self.inputs.config.model

    @cached_property
    def full_folder(self) -> Path:
        """The full model's files.

        Raises:
            UsageError: an adapter is merged into them first, so that no folder holds it.
        """
        asked = self.inputs.config
        if asked.adapter:
            raise UsageError(
                "--orders trains the full model as its folder holds it; merge the adapter into a checkpoint first"
            )
        source = ExportSource(asked.model, asked.revision, None, asked.trust_remote_code)
        return source.find_folder(self.folder)

    def export_plan(self, info: PruneResult, target: Path, plan: str | None = None) -> Path:
        """The plan of a run, or another one for its model, as a checkpoint, written now unless it is there.

        Raises:
            DataError: the plan was searched on rows that the run is judged on.
        """
        if not target.is_dir():
            self.progress.stage("writing the plan as a checkpoint", 0)
            export(info, target, plan, trust_remote_code=self.inputs.config.trust_remote_code)
        for task in self.inputs.run_inputs.test.values():
            refuse_seen(task, read_seen_rows(target) or (), "the plan")
        return target

    def train(self, start: Path, plan: Plan, target: Path, seed: int) -> Training:
        """A checkpoint trained on, in its own folder; now unless it is there.

        Args:
            start: the checkpoint to go on from.
            plan: what it is of the full model.
            target: where the trained one goes.
            seed: of the batches and adapters.
        """
        steps_folder = target.with_name(f"{target.name}-steps")
        if target.is_dir():
            remove_folder(steps_folder)  # where a killed process had not come to it
            return read_training(target)
        asked = self.inputs.config
        student = load(start, device=asked.device, dtype="float32", trust_remote_code=asked.trust_remote_code).model
        sets = [self._make_training_set(task, plan) for task in self.training_tasks]
        settings, start_time = replace(self.settings, seed=seed), time.perf_counter()
        trained, losses = train_student(student, sets, settings, steps_folder, self.progress)
        training = Training(
            by=self.config.by,
            rows={name: len(task.examples) for name, task in self.inputs.training.items()},
            **asdict(settings),
            losses=losses,
            seconds=time.perf_counter() - start_time,
        )
        with make_folder_atomically(target) as temporary, hide_progress_bars():
            cast_weights(trained, self.inputs.dtype).save_pretrained(temporary)
            copy_files(start, companion_files(start), temporary)
            write_seen_rows(temporary, self.inputs.seen_rows | (read_seen_rows(start) or frozenset()))
            write_text(temporary / TRAINING, training.model_dump_json())
        remove_folder(steps_folder)
        return training

    @cached_property
    def training_tasks(self) -> list[Task]:
        """The rows to train on, with the answers that are learnt."""
        tasks = list(self.inputs.training.values())
        if self.config.by != "answers":
            return tasks
        self.progress.stage("answers of the full model", 0)
        model, batch_size = self.inputs.run_inputs.loaded.model, self.inputs.config.batch_size
        return [answer_by_teacher(model, task, batch_size) for task in tasks]

    def _make_training_set(self, task: Task, plan: Plan) -> TrainingSet:
        if self.config.by == "teacher":
            teacher = self.inputs.run_inputs.loaded.model.float()
            return TrainingSet(task.examples, TeacherLoss(task, teacher, plan.order))
        return TrainingSet(task.examples, LabelLoss(task))

    def search(self, model: Path, target: Path) -> PruneResult:
        """The run's search made anew on another model."""
        asked = self.inputs.config
        changes = {"model": str(model), "task": asked.task, "reference": asked.reference, "out": target}
        own = {"revision": None, "adapter": None, "take_over": self.config.take_over}
        return prune(PruneConfig.from_command(self.info.command).model_copy(update=changes | own), self.progress)

    def compare(self, first: str | Path, second: str | Path, name: str) -> VersusResult:
        """Two models on the test rows of the run."""
        asked = self.inputs.config
        of_full = {"revision": asked.revision, "adapter": asked.adapter} if first == self.full_model else {}
        request = VersusConfig(
            model=str(first),
            other=str(second),
            **of_full,
            device=asked.device,
            dtype=asked.dtype,
            run=self.config.run,
            out=self.folder / name,
            task=asked.task,
            reference=asked.reference,
            trust_remote_code=asked.trust_remote_code,
            take_over=self.config.take_over,
        )
        return versus(request, self.progress)


def read_training(folder: Path) -> Training:
    """How the checkpoint in a folder was trained.

    Raises:
        StoreError: nothing says so, or the file is damaged.
    """
    path, remedy = folder / TRAINING, f"delete {folder}, and it is trained again"
    content = read_object(path, StoreError, remedy)
    with explain_damage(path, StoreError, remedy):
        return Training(**content)


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with weights of a dtype, in place."""
    torch.nn.Module.to(model, dtype)
    return model
