"""Train in-context learners: from scratch on polynomials, or on, on shifted prompts, to see what is left of a shift's effects
once it is no shift any more. All prompts are drawn afresh in every step."""

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.lab.config import TrainConfig, TuneConfig
from tapioca.lab.functions import Prompts
from tapioca.lab.tasks import draw_lab_batch
from tapioca.lab.trainer import OnStep, hold_training_folder, run_training, save_training
from tapioca.models.identity import hash_model
from tapioca.models.learner import Learner, learner_config
from tapioca.models.load import load
from tapioca.tasks.regress import interleave


def train(config: TrainConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> Learner:
    """Train a learner and save it in `config.out` as an ordinary Hugging Face folder, with `training.json` beside it.

    The loss is the squared error over all points. An interrupted training continues from its last checkpoint when called
    again with the same config.

    Raises:
        UsageError: the folder holds the training of another config, or something else.
        StoreError: the folder cannot be written.
    """

    def loss_at(step: int) -> torch.Tensor:
        prompts = config.functions.draw(config.batch, np.random.default_rng([config.seed, step]))
        return compute_squared_error(model, prompts, config.points)

    with hold_training_folder(config):
        torch.manual_seed(config.seed)
        model = Learner(learner_config(config.layers, config.width, config.heads))
        save_training(config, model, run_training(config, model, loss_at, on_step, checkpoint_every))
    return model


def tune(config: TuneConfig, on_step: OnStep | None = None, checkpoint_every: int = 500) -> Learner:
    """Train a learner on, on the distribution of `config.task`, and save it in `config.out` as `train` does.

    The loss is the squared error over all points, as in training, or over the query alone where the shift scores no
    other.

    Raises:
        ModelError: there is no such model, or it is no in-context learner of the lab.
        UsageError: the task is no distribution of the lab; or the folder holds the training of another config or
            another model, or something else.
        StoreError: the folder cannot be written.
    """

    def loss_at(step: int) -> torch.Tensor:
        batch = draw_lab_batch(config.task, config.batch, config.seed, step)
        return compute_squared_error(model, batch.prompts, batch.scored)

    draw_lab_batch(config.task, 1, config.seed, 0)  # a name that is none must not leave a folder behind
    model = load(config.model, device="cpu", dtype="float32").model
    if not isinstance(model, Learner):
        raise ModelError(
            f"{config.model} is a {type(model).__name__}; expected an in-context learner, such as `learner` or one of tapioca lab train"
        )
    with hold_training_folder(config):
        record = run_training(config, model, loss_at, on_step, checkpoint_every, model_hash=hash_model(model))
        save_training(config, model, record)
    return model


def compute_squared_error(model: PreTrainedModel, prompts: Prompts, scored: int) -> torch.Tensor:
    """Mean squared error over the last `scored` points of some prompts, as a scalar to learn from."""
    predicted = model(torch.from_numpy(interleave(prompts.x, prompts.context_y))).logits[:, 0::2, 0]  # (prompt, point)
    targets = torch.from_numpy(prompts.targets).float()
    return torch.nn.functional.mse_loss(predicted[:, -scored:], targets[:, -scored:])
