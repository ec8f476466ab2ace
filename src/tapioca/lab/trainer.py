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
    settings = {**config.model_dump(exclude={"out"}), **digests}
    settings |= {name: portable_name(settings[name]) for name in ("model", "task") if name in settings}
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate_factor(step, config))
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "schedule": schedule}
    n_steps, losses = _restore(config, settings, parts)

    def save() -> None:
        states = {name: part.state_dict() for name, part in parts.items()}
        with replace_atomically(config.out / CHECKPOINT) as temporary, temporary.open("wb") as file:
            torch.save({"config": settings, "done": n_steps, "losses": losses, **states}, file)

    is_whole = True
    try:
        while n_steps < config.steps:
            loss = loss_at(n_steps)
            if not loss.isfinite():
                raise NonFiniteError(
                    f"{config.out}: the loss of step {n_steps + 1} is {loss.item()}; use a smaller --learning-rate or milder data"
                )
            loss.backward()
            is_whole = False  # until all weights and the counts belong to one step again
            _update_weights(model, optimiser, schedule)
            losses.append(loss.item())
            n_steps += 1
            is_whole = True
            if on_step:
                on_step(n_steps, losses[-1])
            if n_steps % checkpoint_every == 0 or n_steps == config.steps:
                save()
    except KeyboardInterrupt:
        if is_whole:
            save()
        raise
    model.eval()
    final = float(np.mean(losses[-500:]))
    curve = [float(np.mean(losses[start : start + 100])) for start in range(0, len(losses), 100)]
    return {"config": settings, "threads": torch.get_num_threads(), "final_loss": final, "loss_every_100": curve}


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


def _update_weights(
    model: PreTrainedModel, optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> None:
    """One optimiser step along the gradients that stand there."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()
    optimiser.zero_grad(set_to_none=True)


def _restore(config: Training, settings: dict[str, Any], parts: dict[str, Any]) -> tuple[int, list[float]]:
    """Load the last checkpoint if there is one; returns the steps done and their losses.

    A setting that is newer than the checkpoint had its default when that was made.
    """
    path = config.out / CHECKPOINT
    if not path.exists():
        return 0, []
    defaults = {name: field.default for name, field in type(config).model_fields.items() if name in settings}
    with explain_damage(path, UsageError, "delete it to start again, or choose another folder"):
        refuse_no_file(path)
        _check_parts(path)
        saved = torch.load(path, weights_only=True)
        if {**defaults, **saved["config"]} != settings:
            raise UsageError(f"{path} holds a training with other settings; choose another folder")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return int(saved["done"]), list(map(float, saved["losses"]))


def _check_parts(path: Path) -> None:
    """Refuse a checkpoint whose parts are not what was written: torch writes their checksums, and does not read them."""
    with ZipFile(path) as archive:
        marked = [part.filename for part in archive.infolist() if part.external_attr]  # torch reads a folder as zeros
        if damaged := archive.testzip() or next(iter(marked), None):
            raise ValueError(f"{damaged} in it is damaged")
