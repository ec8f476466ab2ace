"""Train an in-context learner: seeded, resumable, and the same whenever it was interrupted.

Every batch is drawn from (seed, step) alone, so a resumed training reads exactly the batches it would
have read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from tapioca.disk import make_folder, replacing, write_json
from tapioca.errors import UsageError
from tapioca.lab.config import TrainConfig
from tapioca.lab.learner import Learner, learner_config
from tapioca.tasks.regress import interleave

OnStep = Callable[[int, float], None]
"""Called after each step with the number of steps done and the loss of the last one."""


def train(config: TrainConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> Learner:
    """Train a learner and save it in `config.out` as an ordinary Hugging Face folder, with `training.json` beside it.

    An interrupted training continues from its last checkpoint when called again with the same config.

    Raises:
        UsageError: the folder holds the training of another config, or something else.
        StoreError: the folder cannot be written.
    """
    out, said = config.out, config.model_dump(exclude={"out"})
    make_folder(out)
    if any(out.iterdir()) and not (out / "training.pt").is_file():
        raise UsageError(f"{out} holds something else than a training; choose a new folder")
    torch.manual_seed(config.seed)
    model = Learner(learner_config(config.layers, config.width, config.heads)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config))
    checkpoint = Checkpoint(out / "training.pt", said)
    done, losses = checkpoint.restore(model, optimiser, schedule)
    try:
        while done < config.steps:
            losses.append(_step(model, optimiser, schedule, config, done))
            done += 1
            if on_step:
                on_step(done, losses[-1])
            if done % checkpoint_every == 0 or done == config.steps:
                checkpoint.save(model, optimiser, schedule, done, losses)
    except KeyboardInterrupt:
        checkpoint.save(model, optimiser, schedule, done, losses)
        raise
    logging.disable_progress_bar()
    model.eval().save_pretrained(out)
    final = float(np.mean(losses[-500:]))
    curve = [float(np.mean(losses[at : at + 100])) for at in range(0, len(losses), 100)]
    write_json(
        out / "training.json",
        {"config": said, "threads": torch.get_num_threads(), "final_loss": final, "loss_every_100": curve},
    )
    return model


def _rate(step: int, config: TrainConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then cosine to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _step(
    model: Learner,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: TrainConfig,
    step: int,
) -> float:
    """One optimiser step on the batch that belongs to `step`; returns the mean squared error over all points."""
    prompts = config.functions.draw(config.batch, np.random.default_rng([config.seed, step]))
    predicted = model(torch.from_numpy(interleave(prompts.x, prompts.seen))).logits[:, 0::2, 0]  # (prompt, point)
    loss = torch.nn.functional.mse_loss(predicted, torch.from_numpy(prompts.targets).float())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.item()


class Checkpoint:
    """The state of a training on disk, bound to the config that makes it."""

    def __init__(self, path: Path, config: dict[str, Any]):
        self.path, self.config = path, config

    def save(self, model: Learner, optimiser: Any, schedule: Any, done: int, losses: list[float]) -> None:
        """Write weights, optimiser, schedule and losses after `done` steps, whole or not at all."""
        states = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        with replacing(self.path) as temporary:
            torch.save({"config": self.config, "done": done, "losses": losses, **states}, temporary)

    def restore(self, model: Learner, optimiser: Any, schedule: Any) -> tuple[int, list[float]]:
        """Load the last checkpoint if there is one; returns the steps done and their losses."""
        if not self.path.exists():
            return 0, []
        try:
            saved = torch.load(self.path, weights_only=True)
        except Exception as error:  # a torn file can raise anything
            raise UsageError(f"cannot read {self.path}; delete it to start again, or choose another folder") from error
        if saved["config"] != self.config:
            raise UsageError(f"{self.path.parent} holds a training with other settings; choose another folder")
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        schedule.load_state_dict(saved["schedule"])
        return saved["done"], saved["losses"]
