"""What dropping each layer would change to first order, of all layers from one forward and one backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.branches import scale_module
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, run_forward
from tapioca.records import Example
from tapioca.tasks.base import Task
from tapioca.tasks.batches import make_batches


def measure_drop_effects(
    model: PreTrainedModel, task: Task, batch_size: int = 16, on_batch: Callable[[int], None] | None = None
) -> np.ndarray:
    """How the mean log-likelihood of the gold answers would change if each layer were dropped, to first order.

    A layer's scale goes from 1 to 0, so that is minus the derivative by the scale (Molchanov et al., arXiv 1906.10771,
    whose scores are the squares of such products; here the sign is kept, as a drop may help). Far from small: the loss is
    not linear in a scale, and drops are not independent.

    Args:
        model: left as it was; none of its weights gets a gradient.
        task: weighs its examples; errors of numbers count as minus their squares.
        batch_size: examples in a batch, whose activations are all held at once.
        on_batch: called after each batch with the number of examples in it.

    Returns:
        float64 of shape (layer,), above 0 where a drop would help.

    Raises:
        NonFiniteError: a derivative is NaN or infinite.
        UsageError: the task has no loss with gradients.
    """
    derivatives = np.zeros(len(find_layers(model)))
    with _freeze_weights(model):
        for batch in make_batches(task, batch_size):
            derivatives += _differentiate(model, task, batch.examples)
            if on_batch:
                on_batch(len(batch.examples))
    if not np.isfinite(derivatives).all():
        layer = int(np.flatnonzero(~np.isfinite(derivatives))[0])
        raise NonFiniteError(
            f"the derivative by the scale of layer {layer} is {derivatives[layer]}; try --dtype float32"
        )
    return -derivatives / task.weights.sum()


def _differentiate(model: PreTrainedModel, task: Task, examples: Sequence[Example]) -> np.ndarray:
    """Derivative of a batch's weighted sum of log-likelihoods by the scale of each layer, float64 of shape (layer,)."""
    rows, blocks = [row for example in examples for row in example.rows], find_layers(model).blocks
    scales = [torch.ones((), requires_grad=True) for _ in blocks]
    with ExitStack() as stack:
        for block, scale in zip(blocks, scales, strict=True):
            stack.enter_context(scale_module(block, scale))
        batch = collate(model, [row.inputs for row in rows])
        logits = run_forward(model, batch, task.logits_to_keep(rows), with_gradients=True)
        log_likelihoods = task.gold_log_likelihoods(logits, examples)
        weights = torch.tensor([example.weight for example in examples], device=log_likelihoods.device)
        gradients = torch.autograd.grad((weights * log_likelihoods).sum(), scales)
    return np.array([float(gradient) for gradient in gradients])


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
