"""Train an in-context learner on, on shifted prompts: what is left of a shift's effects once it is no shift any more."""

from __future__ import annotations

import torch

from tapioca.errors import ModelError
from tapioca.lab.config import TuneConfig
from tapioca.lab.tasks import draw_lab_batch
from tapioca.lab.train import compute_squared_error
from tapioca.lab.trainer import OnStep, claim_training_folder, run_training, save_training
from tapioca.models.identity import hash_model
from tapioca.models.learner import Learner
from tapioca.models.load import load


def tune(config: TuneConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> Learner:
    """Train a learner on, on the distribution of `config.task`, and save it in `config.out` as `train` does.

    The loss is the squared error over all points, as in training, or over the query alone where the shift scores no
    other. An interrupted training continues from its last checkpoint when called again with the same config.

    Raises:
        ModelError: there is no such model, or it is no in-context learner of the lab.
        UsageError: the task is no distribution of the lab; or the folder holds the training of another config or
            another model, or something else.
        StoreError: the folder cannot be written.
    """
    draw_lab_batch(config.task, 1, config.seed, 0)  # a name that is none must not leave a folder behind
    model = load(config.model, device="cpu", dtype="float32").model
    if not isinstance(model, Learner):
        raise ModelError(
            f"{config.model} is a {type(model).__name__}; expected an in-context learner, such as `learner` or one of tapioca lab train"
        )
    claim_training_folder(config.out)
    record = run_training(
        config, model, lambda step: _loss(model, config, step), on_step, checkpoint_every, model_hash=hash_model(model)
    )
    save_training(config, model, record)
    return model


def _loss(model: Learner, config: TuneConfig, step: int) -> torch.Tensor:
    """Mean squared error over the scored points of the prompts that belong to `step`."""
    batch = draw_lab_batch(config.task, config.batch, config.seed, step)
    return compute_squared_error(model, batch.prompts, batch.scored)
