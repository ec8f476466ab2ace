"""Train an in-context learner on polynomials drawn afresh in every step."""

from __future__ import annotations

import numpy as np
import torch

from tapioca.lab.config import TrainConfig
from tapioca.lab.functions import Prompts
from tapioca.lab.trainer import OnStep, claim_training_folder, run_training, save_training
from tapioca.models.learner import Learner, learner_config
from tapioca.tasks.regress import interleave


def train(config: TrainConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> Learner:
    """Train a learner and save it in `config.out` as an ordinary Hugging Face folder, with `training.json` beside it.

    An interrupted training continues from its last checkpoint when called again with the same config.

    Raises:
        UsageError: the folder holds the training of another config, or something else.
        StoreError: the folder cannot be written.
    """
    claim_training_folder(config.out)
    torch.manual_seed(config.seed)
    model = Learner(learner_config(config.layers, config.width, config.heads))
    record = run_training(config, model, lambda step: _loss(model, config, step), on_step, checkpoint_every)
    save_training(config, model, record)
    return model


def _loss(model: Learner, config: TrainConfig, step: int) -> torch.Tensor:
    """Mean squared error over all points of the prompts that belong to `step`."""
    prompts = config.functions.draw(config.batch, np.random.default_rng([config.seed, step]))
    return compute_squared_error(model, prompts, config.points)


def compute_squared_error(model: Learner, prompts: Prompts, scored: int) -> torch.Tensor:
    """Mean squared error over the last `scored` points of some prompts, as a scalar to learn from."""
    predicted = model(torch.from_numpy(interleave(prompts.x, prompts.context_y))).logits[:, 0::2, 0]  # (prompt, point)
    targets = torch.from_numpy(prompts.targets).float()
    return torch.nn.functional.mse_loss(predicted[:, -scored:], targets[:, -scored:])
