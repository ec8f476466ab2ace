"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.engine.sweep import DEFAULT_SCHEDULE, Schedule, sweep
from tapioca.errors import NonFiniteError
from tapioca.models.capture import capture_branch_stream, capture_layer_outputs, capture_residual_stream, list_branches
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, find_last_tokens
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix
from tapioca.profiles.attribution import attribute_deviation
from tapioca.profiles.layer_importance import LayerImportance, angular_distances, block_influence, relative_magnitude
from tapioca.profiles.profiles import StateGeometry, state_geometry
from tapioca.profiles.updates import UpdatePlace, join_updates, summarise_updates, updates_of_stream
from tapioca.records import Attribution, Example, Updates

CaptureFunction = Callable[[PreTrainedModel, dict[str, torch.Tensor], Callable[[int, torch.Tensor], None]], None]
"""One of the functions of models/capture.py."""

SelectLastTokens = Callable[[torch.Tensor], torch.Tensor]
"""Takes the last tokens' states, (batch, width), from those of a batch."""

MAX_EXAMPLES = 512
"""Most examples whose states are kept; the number of pairs grows with its square."""


def draw_sample(examples: Sequence[Example], size: int, seed: int) -> tuple[Example, ...]:
    """A seeded sample in a fixed order, the same for every plan: at most one example of a group, so that they are independent."""
    order = np.random.default_rng(seed).permutation(len(examples))
    first_of_group = {examples[index].group: index for index in reversed(order)}
    chosen = [index for index in order if first_of_group[examples[index].group] == index][:size]
    return tuple(examples[index] for index in sorted(chosen))


def capture_states(model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16) -> np.ndarray:
    """Hidden states after each layer the plan keeps, at each prompt's last token, before the final norm.

    Returns:
        float32 of shape (kept layer, example, width).

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    return _collect_states(model, plan, examples, batch_size, capture_layer_outputs, 0)


def capture_states_of_plans(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    examples: Sequence[Example],
    batch_size: int = 16,
    schedule: Schedule = DEFAULT_SCHEDULE,
    on_batch: Callable[[int], None] | None = None,
) -> dict[Prefix, np.ndarray]:
    """As `capture_states` for many plans, which run together: each state they share is computed and held once.

    Args:
        model: left as it was.
        plans: for this model.
        examples: their prompts are read, without answers.
        batch_size: prompts run at once.
        schedule: how plans run together.
        on_batch: called with the number of examples that a plan is done with.

    Returns:
        float32 of shape (example, width) after every layer that is computed, by what was done with the full model's
        layers up to it. So a plan's state after a layer it keeps is at `steps(plan)[: layer + 1]`.

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    states_by_prefix: dict[Prefix, np.ndarray] = {}
    for indices, batch, last in _iterate_prompts(model, examples, batch_size):

        def read(
            prefix: Prefix, output: torch.Tensor, indices: list[int] = indices, last: SelectLastTokens = last
        ) -> None:
            if prefix not in states_by_prefix:
                states_by_prefix[prefix] = np.empty((len(examples), output.shape[-1]), dtype=np.float32)
            states_by_prefix[prefix][indices] = last(output).float().numpy()

        for _ in sweep(model, plans, batch, keep=1, schedule=replace(schedule, state_cache=None), read=read):
            if on_batch:
                on_batch(len(indices))
    for prefix, prefix_states in states_by_prefix.items():
        dropped_layers = [layer for layer, step in enumerate(prefix) if step.dropped]
        _check_finite(
            prefix_states[None], [f"after layer {len(prefix) - 1}"], Plan.drop(plans[0].n_layers, dropped_layers)
        )
    return states_by_prefix


def capture_stream_states(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16
) -> np.ndarray:
    """As `capture_states`, with the state before the first layer at their head: (kept layer + 1, example, width)."""
    return _collect_states(model, plan, examples, batch_size, capture_residual_stream, 1)


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
        model: left as it was.
        plan: dropped layers add nothing and are left out.
        examples: their prompts are read, without answers.
        grain: whole layers, or their branches; with branches, layers that have two compute their attention twice.
        batch_size: prompts run at once.
        seed: of the intervals.

    Raises:
        ModelError: branches of this model cannot be told apart, for instance because its layers normalise after adding.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    watch = capture_branch_stream if grain == "branch" else capture_residual_stream
    with apply(model, plan):
        places: Sequence[UpdatePlace] = (
            list_branches(model) if grain == "branch" else [(indices, None) for indices in range(len(plan.kept))]
        )
    layers_and_branches = [(plan.kept[indices], branch) for indices, branch in places]
    steps_by_batch, order = [], []
    for indices, stream in _capture_batches(model, plan, examples, batch_size, watch):
        _check_finite(
            stream, ["before the first layer", *(f"after layer {layer}" for layer, _ in layers_and_branches)], plan
        )
        steps_by_batch.append(updates_of_stream(stream))
        order += indices
    return summarise_updates(join_updates(steps_by_batch, order), layers_and_branches, plan, seed)


def measure_attribution(
    model: PreTrainedModel,
    ood_examples: Sequence[Example],
    reference: Sequence[Example],
    layers: Sequence[int],
    batch_size: int = 16,
    seed: int = 0,
    on_layer: Callable[[], None] = lambda: None,
) -> tuple[Attribution, ...]:
    """Each layer's own share of the norm and the distance deviation of some prompts from others (profiles/attribution.py).

    Args:
        model: left as it was.
        ood_examples: OOD examples, others than those any gain is measured on.
        reference: ID examples.
        layers: those to drop one by one for their share by removal, each a run over `ood_examples`.
        batch_size: prompts run at once.
        seed: of the intervals.
        on_layer: called after each layer that was dropped.

    Raises:
        ModelError: the model cannot do without one of `layers`.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    full_plan = Plan.full(len(find_layers(model)))
    ood_geometry, reference_geometry = (
        state_geometry(capture_stream_states(model, full_plan, examples, batch_size))
        for examples in (ood_examples, reference)
    )
    plans = {layer: Plan.drop(full_plan.n_layers, [layer]) for layer in layers}

    def without() -> Iterator[tuple[int, StateGeometry]]:
        for layer, plan in plans.items():
            yield layer, state_geometry(capture_states(model, plan, ood_examples, batch_size))
            on_layer()

    return attribute_deviation(ood_geometry, reference_geometry, without(), seed)


def _capture_batches(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int, watch: CaptureFunction
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Which examples, and what is watched at their last tokens under a plan: float64 of shape (place, example, width)."""
    for indices, batch, last in _iterate_prompts(model, examples, batch_size):
        captured_states: list[torch.Tensor] = []

        def read(
            place: int,
            output: torch.Tensor,
            captured_states: list[torch.Tensor] = captured_states,
            last: SelectLastTokens = last,
        ) -> None:
            captured_states.append(last(output).double())

        with apply(model, plan):
            watch(model, batch, read)
        yield indices, torch.stack(captured_states).numpy()


def _iterate_prompts(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor], SelectLastTokens]]:
    """Which examples, their prompts as a batch, and what takes the last tokens' states; the longest come first."""
    if not examples:
        raise ValueError("no examples to observe")
    order = sorted(range(len(examples)), key=lambda indices: -len(examples[indices].prompt))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = collate(model, [examples[index].prompt for index in indices])
        yield indices, batch, partial(_select_last_tokens, find_last_tokens(batch))


def _select_last_tokens(ends: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """The states of the last tokens: (batch, width)."""
    rows = torch.arange(len(states), device=states.device)
    return states[rows, ends.to(states.device)].cpu()


def _collect_states(
    model: PreTrainedModel,
    plan: Plan,
    examples: Sequence[Example],
    batch_size: int,
    watch: CaptureFunction,
    n_input_states: int,
) -> np.ndarray:
    """All examples' states in float32, the first `n_input_states` of them from before the first layer."""
    all_states: np.ndarray | None = None
    for indices, batch_states in _capture_batches(model, plan, examples, batch_size, watch):
        if all_states is None:
            all_states = np.empty((len(batch_states), len(examples), batch_states.shape[2]), dtype=np.float32)
        all_states[:, indices] = batch_states
    assert all_states is not None
    _check_finite(
        all_states, ["before the first layer"] * n_input_states + [f"after layer {layer}" for layer in plan.kept], plan
    )
    return all_states


def _check_finite(states: np.ndarray, places: Sequence[str], plan: Plan) -> None:
    broken = ~np.isfinite(states).all(axis=(1, 2))
    if broken.any():
        raise NonFiniteError(f"the states {places[int(broken.argmax())]} are NaN or infinite under plan '{plan}'")


def measure_similarity(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> LayerImportance:
    """How little each layer changes the residual stream of some prompts, from one pass of the full model.

    Padding is left out; the last state is read before the final norm.

    Args:
        model: left as it was.
        examples: their prompts are read, without answers.
        batch_size: prompts run at once.
        on_batch: called after each batch with the number of prompts in it.

    Raises:
        NonFiniteError: a state is NaN, infinite or zero; names the layer.
    """
    sorted_examples, n_layers = sorted(examples, key=lambda example: -len(example.prompt)), len(find_layers(model))
    sums, angles, n_tokens = np.zeros((2, n_layers)), np.zeros((n_layers + 1, n_layers + 1)), 0
    for start in range(0, len(sorted_examples), batch_size):
        prompts = [example.prompt for example in sorted_examples[start : start + batch_size]]
        changes, last_states = _measure_changes(model, collate(model, prompts))
        n_tokens += sum(len(prompt) for prompt in prompts)
        sums += changes
        angles += angular_distances(last_states) * len(prompts)
        if on_batch:
            on_batch(len(prompts))
    return LayerImportance(
        influence=sums[0] / n_tokens, magnitude=sums[1] / n_tokens, angles=angles / len(sorted_examples)
    )


def _measure_changes(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Block influence and relative magnitude summed over a batch's tokens, (2, layer), and the states of the last
    tokens, (layer + 1, example, width). Only two layers' states are held at once."""
    token_mask, last_positions = batch["attention_mask"].bool(), find_last_tokens(batch)
    before: np.ndarray | None = None
    changes: list[tuple[float, float]] = []
    last_token_states: list[np.ndarray] = []

    def read(depth: int, states: torch.Tensor) -> None:
        nonlocal before
        current_states = states[token_mask.to(states.device)].float().cpu().numpy()
        if before is not None:
            try:
                changes.append(
                    (block_influence(before, current_states).sum(), relative_magnitude(before, current_states).sum())
                )
            except NonFiniteError as error:
                raise NonFiniteError(f"around layer {depth - 1}, {error}") from error
        before = current_states
        rows = torch.arange(len(states), device=states.device)
        last_token_states.append(states[rows, last_positions.to(states.device)].float().cpu().numpy())

    capture_residual_stream(model, batch, read)
    return np.array(changes).T, np.stack(last_token_states)
