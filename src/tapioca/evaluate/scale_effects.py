"""What dropping each layer and each branch would change to first order, of all from one forward and one backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError, NonFiniteError
from tapioca.evaluate.reading import compute_gold_log_likelihoods
from tapioca.models.branches import layer_branches, scale_branch, scale_module
from tapioca.models.find import find_layers
from tapioca.plan import GRAINS, Grain
from tapioca.records import Example
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches

Scales = dict[tuple[Grain, int], torch.Tensor]
"""By what is scaled and in which layer, a tensor of no dimensions."""


def measure_drop_effects(
    model: PreTrainedModel, task: Task, batch_size: int = 16, on_batch: Callable[[int], None] | None = None
) -> dict[Grain, np.ndarray]:
    """How the mean log-likelihood of the gold answers would change if each layer or branch were dropped, to first order.

    Its scale goes from 1 to 0, so that is minus the derivative by the scale (Molchanov et al., arXiv 1906.10771,
    whose scores are the squares of such products; here the sign is kept, as a drop may help). Far from small: the loss is
    not linear in a scale, and drops are not independent.

    Args:
        model: left as it was; none of its weights gets a gradient.
        task: weighs its examples; errors of numbers count as minus their squares.
        batch_size: examples in a batch, whose activations are all held at once.
        on_batch: called after each batch with the number of examples in it.

    Returns:
        For layers and each kind of branch float64 of shape (layer,), above 0 where a drop would help; 0 where a layer has no
        such branch.

    Raises:
        NonFiniteError: a derivative is NaN or infinite.
        UsageError: the task has no loss with gradients.
    """
    derivatives = {grain: np.zeros(len(find_layers(model))) for grain in GRAINS}
    with _freeze_weights(model):
        for batch in make_batches(task, batch_size):
            for (grain, layer), derivative in _differentiate(model, task, batch.examples).items():
                derivatives[grain][layer] += derivative
            if on_batch:
                on_batch(len(batch.examples))
    for grain, by_layer in derivatives.items():
        if not np.isfinite(by_layer).all():
            layer = int(np.flatnonzero(~np.isfinite(by_layer))[0])
            name = f"layer {layer}" if grain == "layers" else f"the {grain} branch of layer {layer}"
            raise NonFiniteError(f"the derivative by the scale of {name} is {by_layer[layer]}; try --dtype float32")
    return {grain: -by_layer / task.weights.sum() for grain, by_layer in derivatives.items()}


def _differentiate(model: PreTrainedModel, task: Task, examples: Sequence[Example]) -> dict[tuple[Grain, int], float]:
    """Derivatives of a batch's weighted sum of log-likelihoods by all scales."""
    with open_scales(model) as scales:
        log_likelihoods = compute_gold_log_likelihoods(model, task, examples)
        weights = torch.tensor([example.weight for example in examples], device=log_likelihoods.device)
        gradients = torch.autograd.grad((weights * log_likelihoods).sum(), list(scales.values()))
    return dict(zip(scales, map(float, gradients), strict=True))


@contextmanager
def open_scales(model: PreTrainedModel) -> Iterator[Scales]:
    """Let a model run with all layers, and all branches that can be scaled alone, multiplied by scales of 1 that take
    gradients."""
    scales: Scales = {}
    with ExitStack() as stack:
        for layer, block in enumerate(find_layers(model).blocks):
            scales["layers", layer] = torch.ones((), requires_grad=True)
            stack.enter_context(scale_module(block, scales["layers", layer]))
            try:
                branches = layer_branches(model, block)
            except ModelError:  # of this family none is known
                branches = {}
            for name, branch in branches.items():
                scales[name, layer] = torch.ones((), requires_grad=True)
                config = model.config.get_text_config(decoder=True)
                stack.enter_context(scale_branch(block, branch, scales[name, layer], config))
        yield scales


@contextmanager
def _freeze_weights(model: PreTrainedModel) -> Iterator[None]:
    """Ask for no gradient of any weight meanwhile."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)
