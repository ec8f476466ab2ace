"""The training loop of the lab: seeded, resumable, and the same whenever it was interrupted.

Every batch must follow from (seed, step) alone, so a resumed training reads exactly the batches it would have read.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from tapioca.disk import make_marked_folder, replace_atomically, replace_files, write_json
from tapioca.errors import NonFiniteError, UsageError
from tapioca.lab.config import Training
from tapioca.reading import explain_damage, refuse_no_file
from tapioca.records.portable import portable_name
from tapioca.runs.lock import FolderLock

CHECKPOINT = "training.pt"
OnStep = Callable[[int, float], None]
"""Called after each step with the number of steps done and the loss of the last one."""


@contextmanager
def hold_training_folder(config: Training) -> Iterator[None]:
    """Hold the folder of a new training, or of one that stands there to be continued.

    Raises:
        StoreError: it is in use, holds something else, or cannot be made.
    """
    with FolderLock(config.out, config.take_over) as lock:
        make_marked_folder(config.out, CHECKPOINT, "a training")
        yield
        lock.check()


class _TrainingState:
    """A model on its way, with all that goes into its checkpoint.

    Attributes:
        settings: of the training, by which a checkpoint of another one is told.
        n_steps, losses: the steps done, and the loss of each.
        is_whole: whether all weights and the counts belong to one step.
    """

    def __init__(self, config: Training, model: PreTrainedModel, digests: dict[str, str]):
        settings = {**config.model_dump(exclude={"out"}), **digests}
        named = {name: portable_name(settings[name]) for name in ("model", "task") if name in settings}
        self.settings = settings | named
        self.n_steps, self.losses, self.is_whole = 0, list[float](), True
        self._config, self._model = config, model
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: _learning_rate_factor(step, config)
        )
        self._parts: dict[str, Any] = {"model": model, "optimiser": self._optimiser, "schedule": self._schedule}

    def step(self, loss: torch.Tensor) -> None:
        """Change the weights along the gradients of a loss."""
        loss.backward()
        self.is_whole = False
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.losses.append(loss.item())
        self.n_steps += 1
        self.is_whole = True

    def save(self) -> None:
        """Write the checkpoint."""
        states = {name: part.state_dict() for name, part in self._parts.items()}
        with replace_atomically(self._config.out / CHECKPOINT) as temporary, temporary.open("wb") as file:
            torch.save({"config": self.settings, "done": self.n_steps, "losses": self.losses, **states}, file)

    def restore(self) -> None:
        """Load the last checkpoint if there is one; a setting that is newer than it had its default when it was made."""
        path, fields = self._config.out / CHECKPOINT, type(self._config).model_fields
        if not path.exists():
            return
        defaults = {name: field.default for name, field in fields.items() if name in self.settings}
        with explain_damage(path, UsageError, "delete it to start again, or choose another folder"):
            refuse_no_file(path)
            _check_parts(path)
            saved = torch.load(path, weights_only=True)
            if {**defaults, **saved["config"]} != self.settings:
                raise UsageError(f"{path} holds a training with other settings; choose another folder")
            for name, part in self._parts.items():
                part.load_state_dict(saved[name])
            self.n_steps, self.losses = int(saved["done"]), list(map(float, saved["losses"]))


def run_training(
    config: Training,
    model: PreTrainedModel,
    loss_at: Callable[[int], torch.Tensor],
    on_step: OnStep | None = None,
    checkpoint_every: int = 500,
    **digests: str,
) -> dict[str, Any]:
    """Train a model, from its last checkpoint where `config.out` has one.

    Args:
        config: the request; a checkpoint of another one is refused.
        model: with the weights it begins with; left in evaluation mode.
        loss_at: gives the loss on the batch that belongs to a step, numbered from 0.
        on_step: told about every step.
        checkpoint_every: steps between checkpoints.
        digests: of what the config only names (data, the weights to begin with), to refuse a checkpoint made on others.

    Returns:
        What `training.json` says: the config, the threads, and the loss over the steps.

    Raises:
        UsageError: the folder holds the training of another config.
        NonFiniteError: the loss is no number any more.
    """
    state = _TrainingState(config, model, digests)
    state.restore()
    model.train()
    try:
        while state.n_steps < config.steps:
            loss = loss_at(state.n_steps)
            if not loss.isfinite():
                raise NonFiniteError(
                    f"{config.out}: the loss of step {state.n_steps + 1} is {loss.item()}; use a smaller --learning-rate or milder data"
                )
            state.step(loss)
            if on_step:
                on_step(state.n_steps, state.losses[-1])
            if state.n_steps % checkpoint_every == 0 or state.n_steps == config.steps:
                state.save()
    except KeyboardInterrupt:
        if state.is_whole:
            state.save()
        raise
    model.eval()
    return {"config": state.settings, "threads": torch.get_num_threads(), **_summarise_losses(state.losses)}


def save_training(
    config: Training,
    model: PreTrainedModel,
    record: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Save the model as an ordinary Hugging Face folder, with its tokenizer if it has one, and `training.json` last."""
    logging.disable_progress_bar()
    with replace_files(config.out) as scratch:
        model.save_pretrained(scratch)
        if tokenizer:
            tokenizer.save_pretrained(scratch)
        for weights in scratch.glob("*.safetensors"):
            shutil.copymode(scratch / "config.json", weights)  # safetensors 0.8 lets only the owner read them
    write_json(config.out / "training.json", record)


def _learning_rate_factor(step: int, config: Training) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _summarise_losses(losses: list[float]) -> dict[str, Any]:
    """What is kept of the losses: the mean of the last 500 steps, and those of every 100."""
    curve = [float(np.mean(losses[start : start + 100])) for start in range(0, len(losses), 100)]
    return {"final_loss": float(np.mean(losses[-500:])), "loss_every_100": curve}


def _check_parts(path: Path) -> None:
    """Refuse a checkpoint whose parts are not what was written: torch writes their checksums, and does not read them."""
    with ZipFile(path) as archive:
        marked = [part.filename for part in archive.infolist() if part.external_attr]  # torch reads a folder as zeros
        if damaged := archive.testzip() or next(iter(marked), None):
            raise ValueError(f"{damaged} in it is damaged")
