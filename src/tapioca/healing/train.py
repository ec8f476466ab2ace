"""The training of a student by transformers' own Trainer: seeded, and continued where it was interrupted."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tapioca.errors import ModelError, NonFiniteError
from tapioca.healing.losses import Loss
from tapioca.hub import hide_progress_bars
from tapioca.progress import Progress
from tapioca.records import Example

NO_PEFT = "healing with adapters needs peft; pip install 'tapioca-prune[heal]', or --full"
CHECKPOINTS = 4
"""Checkpoints that are written on the way; an interrupted training loses at most the steps since the last."""
LORA_ALPHA = 2
"""By how much of its rank an adapter's update is scaled, as is usual."""


@dataclass(frozen=True)
class TrainingSet:
    """Examples of one data set, and the loss on them."""

    examples: tuple[Example, ...]
    loss: Loss


@dataclass(frozen=True)
class TrainSettings:
    """How a student is trained.

    Attributes:
        steps: optimiser steps.
        batch: examples in a step.
        learning_rate: peak of AdamW; warmed up over a tenth of the steps, then it falls as a cosine.
        rank: of the LoRA adapters on all linear layers; 0 trains all weights.
        seed: of batches and adapters.
    """

    steps: int
    batch: int
    learning_rate: float
    rank: int
    seed: int


class Batches(Dataset[tuple[int, list[int]]]):
    """What every step reads: the data set and which of its examples. It follows from seed and step alone."""

    def __init__(self, training_sets: Sequence[TrainingSet], settings: TrainSettings):
        self.training_sets, self.settings = training_sets, settings

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> tuple[int, list[int]]:
        place, turn = step % len(self.training_sets), step // len(self.training_sets)
        size = len(self.training_sets[place].examples)
        first = turn * self.settings.batch
        return place, [
            self._draw(place, number // size)[number % size] for number in range(first, first + self.settings.batch)
        ]

    def _draw(self, place: int, epoch: int) -> list[int]:
        """The order of a data set in an epoch."""
        rng = np.random.default_rng([self.settings.seed, place, epoch])
        order: list[int] = rng.permutation(len(self.training_sets[place].examples)).tolist()
        return order


class HealTrainer(Trainer):
    """transformers' Trainer on several data sets: every step is a batch of one of them."""

    batches: Batches
    student: PreTrainedModel

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Steps in their order, which is drawn already."""
        return DataLoader(self.batches, batch_size=1, collate_fn=lambda steps: {"step": steps[0]})

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one step; without dropout, which would be noise of a few hundred steps."""
        model.eval()
        place, indices = inputs["step"]
        training_set = self.batches.training_sets[place]
        loss = training_set.loss(self.student, [training_set.examples[index] for index in indices])
        return (loss, {}) if return_outputs else loss


class _Report(TrainerCallback):
    """Tells how far the training is, and ends it where the loss is NaN."""

    def __init__(self, progress: Progress):
        self.progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.stage("training", state.max_steps)
        self.progress.advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.advance(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            refuse_nan(logs["loss"], state.global_step)
            self.progress.status(f"loss {logs['loss']:.4f}")


def train_student(
    student: PreTrainedModel,
    training_sets: Sequence[TrainingSet],
    settings: TrainSettings,
    folder: Path,
    progress: Progress,
) -> tuple[PreTrainedModel, tuple[float, ...]]:
    """Train a student; adapters are merged into its weights afterwards.

    Args:
        student: in float32; its weights change.
        training_sets: one for each data set; steps take them in turn.
        settings: how.
        folder: of the checkpoints, from the last of which an interrupted training goes on.
        progress: told every step.

    Returns:
        The student, in evaluation mode, and the loss of every step.

    Raises:
        ModelError: peft is missing, or it finds nothing in the model that it can adapt.
        NonFiniteError: a loss is NaN or infinite.
    """
    trained: Any = add_adapters(student, settings) if settings.rank else student
    batches = Batches(training_sets, settings)
    trainer = HealTrainer(
        model=trained,
        args=_make_arguments(settings, folder, on_cpu=student.device.type == "cpu"),
        train_dataset=batches,
        callbacks=[_Report(progress)],
    )
    trainer.batches, trainer.student = batches, student
    trainer.remove_callback(PrinterCallback)
    with hide_progress_bars():
        trainer.train(resume_from_checkpoint=find_checkpoint(folder))
    losses = tuple(float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry)
    merged: Any = trained.merge_and_unload() if settings.rank else student
    vars(merged).pop("peft_config", None)
    return merged.eval(), losses


def find_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that is whole: its state is written last."""
    states = folder.glob("checkpoint-*/trainer_state.json")
    by_step = {int(state.parent.name.rpartition("-")[2]): str(state.parent) for state in states}
    return by_step[max(by_step)] if by_step else None


def add_adapters(student: PreTrainedModel, settings: TrainSettings) -> Any:
    """The student with LoRA adapters (Hu et al. 2021) on its linear layers.

    Raises:
        ModelError: peft is missing, or finds none.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ModelError(NO_PEFT) from error
    torch.manual_seed(settings.seed)
    config = LoraConfig(r=settings.rank, lora_alpha=LORA_ALPHA * settings.rank, target_modules="all-linear")
    try:
        # peft asks transformers for a property by its old name
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            return get_peft_model(student, config)
    except ValueError as error:
        raise ModelError(
            f"peft finds nothing to adapt in {student.name_or_path}: {error}; train all weights with --full"
        ) from error


def _make_arguments(settings: TrainSettings, folder: Path, on_cpu: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        warmup_steps=math.ceil(settings.steps / 10),
        lr_scheduler_type="cosine",
        seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=max(1, settings.steps // CHECKPOINTS),
        save_total_limit=1,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        use_cpu=on_cpu,
        dataloader_num_workers=0,
        log_level="error",
    )


def refuse_nan(loss: float, step: int) -> None:
    """Refuse to go on with a loss that is NaN or infinite; the checkpoint of this step is not written yet.

    Raises:
        NonFiniteError: it is.
    """
    if not math.isfinite(loss):
        raise NonFiniteError(f"the loss is {loss} at step {step}; lower --learning-rate")
