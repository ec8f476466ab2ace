"""What layers do to the hidden states of examples: updates, attribution of a deviation, and how little each changes.

Models are left as they were; prompts are read without their answers, `batch_size` of them at once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.models.capture import capture_branch_stream, capture_residual_stream, list_branches
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.observe.capture import (
    SelectLastTokens,
    capture_batches,
    capture_states,
    capture_stream_states,
    iterate_prompts,
    refuse_non_finite,
)
from tapioca.plan import Plan
from tapioca.profiles.attribution import attribute_deviation
from tapioca.profiles.layer_importance import LayerImportance, angular_distances, block_influence, relative_magnitude
from tapioca.profiles.profiles import state_geometry
from tapioca.profiles.updates import UpdatePlace, join_updates, summarise_updates, updates_of_stream
from tapioca.records import Attribution, Example, Updates


def measure_updates(
    model: PreTrainedModel,
    plan: Plan,
    examples: Sequence[Example],
    grain: Literal["layer", "branch"] = "layer",
    batch_size: int = 16,
    seed: int = 0,
) -> Updates:
    """Length, angle to the stream and share of the final state of what each layer, or branch, adds at the last prompt token.

    In float64, from differences of the stream itself, so that the shares sum to 1 whatever the model's dtype; only one
    batch's states are held.

    Args:
        plan: dropped layers add nothing and are left out; those that it repeats add twice.
        grain: whole layers, or their branches; with branches, layers that have two compute their attention twice.

    Raises:
        ModelError: branches of this model cannot be told apart, for instance because its layers normalise after adding.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    watch = capture_branch_stream if grain == "branch" else capture_residual_stream
    with apply(model, plan):
        places: Sequence[UpdatePlace] = (
            list_branches(model) if grain == "branch" else [(indices, None) for indices in range(len(plan.order))]
        )
    layers_and_branches = [(plan.order[indices], branch) for indices, branch in places]
    steps_by_batch, order = [], []
    for indices, stream in capture_batches(model, plan, examples, batch_size, watch):
        refuse_non_finite(
            stream, ["before the first layer", *(f"after layer {layer}" for layer, _ in layers_and_branches)], plan
        )
        steps_by_batch.append(updates_of_stream(stream))
        order += indices
    return summarise_updates(join_updates(steps_by_batch, order), layers_and_branches, plan, seed)


def measure_attribution(
    model: PreTrainedModel,
    ood_examples: Sequence[Example],
    reference: Sequence[Example],
    layers: Iterable[int],
    batch_size: int = 16,
    seed: int = 0,
) -> tuple[Attribution, ...]:
    """Each layer's own share of the norm and the distance deviation of some prompts from others (profiles/attribution.py).

    Args:
        ood_examples: OOD examples, others than those any gain is measured on.
        reference: ID examples.
        layers: those to drop one by one for their share by removal, each a run over `ood_examples`; the next is asked
            for when one is done.

    Raises:
        ModelError: the model cannot do without one of `layers`.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    full_plan = Plan.full(len(find_layers(model)))
    ood_geometry, reference_geometry = (
        state_geometry(capture_stream_states(model, full_plan, examples, batch_size))
        for examples in (ood_examples, reference)
    )
    plans = ((layer, Plan.drop(full_plan.n_layers, [layer])) for layer in layers)
    without = ((layer, state_geometry(capture_states(model, plan, ood_examples, batch_size))) for layer, plan in plans)
    return attribute_deviation(ood_geometry, reference_geometry, without, seed)


def measure_similarity(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> LayerImportance:
    """How little each layer changes the residual stream of some prompts, from one pass of the full model.

    Padding is left out; the last state is read before the final norm.

    Args:
        on_batch: called after each batch with the number of prompts in it.

    Raises:
        NonFiniteError: a state is NaN, infinite or zero; names the layer.
    """
    n_layers = len(find_layers(model))
    sums, angles, n_tokens = np.zeros((2, n_layers)), np.zeros((n_layers + 1, n_layers + 1)), 0
    for indices, batch, select_last in iterate_prompts(model, examples, batch_size):
        changes, last_states = _measure_changes(model, batch, select_last)
        n_tokens += sum(len(examples[index].prompt) for index in indices)
        sums += changes
        angles += angular_distances(last_states) * len(indices)
        if on_batch:
            on_batch(len(indices))
    return LayerImportance(influence=sums[0] / n_tokens, magnitude=sums[1] / n_tokens, angles=angles / len(examples))


def _measure_changes(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], select_last: SelectLastTokens
) -> tuple[np.ndarray, np.ndarray]:
    """Block influence and relative magnitude summed over a batch's tokens, (2, layer), and the states of the last
    tokens, (layer + 1, example, width). Only two layers' states are held at once."""
    token_mask = batch["attention_mask"].bool()
    before: np.ndarray | None = None
    changes: list[tuple[float, float]] = []
    last_token_states: list[np.ndarray] = []

    def read(depth: int, states: torch.Tensor) -> None:
        nonlocal before
        current_states = states[token_mask.to(states.device)].float().cpu().numpy()
        if before is not None:
            try:
                influence = block_influence(before, current_states).sum()
                changes.append((influence, relative_magnitude(before, current_states).sum()))
            except NonFiniteError as error:
                raise NonFiniteError(f"around layer {depth - 1}, {error}") from error
        before = current_states
        last_token_states.append(select_last(states).float().numpy())

    capture_residual_stream(model, batch, read)
    return np.array(changes).T, np.stack(last_token_states)
