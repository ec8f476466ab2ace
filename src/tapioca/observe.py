"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.geometry.attribution import attribute
from tapioca.geometry.profiles import Shape, shape
from tapioca.geometry.similarity import Similarity, angular_distances, influence, magnitude
from tapioca.geometry.updates import Place, joined, steps, summary
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, last_tokens
from tapioca.models.sweep import DEFAULT, Schedule, sweep
from tapioca.models.watch import branch_places, branch_stream, layer_outputs, residual_stream
from tapioca.records import Attribution, Example, Plan, Updates
from tapioca.records.tree import Prefix

Watch = Callable[[PreTrainedModel, dict[str, torch.Tensor], Callable[[int, torch.Tensor], None]], None]
"""One of the functions of models/watch.py."""

Last = Callable[[torch.Tensor], torch.Tensor]
"""Takes the last tokens' states, (batch, width), from those of a batch."""

SAMPLE = 512
"""Most examples whose states are kept; the number of pairs grows with its square."""


def sample(examples: Sequence[Example], size: int, seed: int) -> tuple[Example, ...]:
    """A seeded sample in a fixed order, the same for every plan: at most one example of a group, so that they are independent."""
    order = np.random.default_rng(seed).permutation(len(examples))
    first_of_group = {examples[at].group: at for at in reversed(order)}
    chosen = [at for at in order if first_of_group[examples[at].group] == at][:size]
    return tuple(examples[at] for at in sorted(chosen))


def states(model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16) -> np.ndarray:
    """Hidden states after each layer the plan keeps, at each prompt's last token, before the final norm.

    Returns:
        float32 of shape (kept layer, example, width).

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    return _collected(model, plan, examples, batch_size, layer_outputs, 0)


def states_of_plans(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    examples: Sequence[Example],
    batch_size: int = 16,
    schedule: Schedule = DEFAULT,
    on_batch: Callable[[int], None] | None = None,
) -> dict[Prefix, np.ndarray]:
    """As `states` for many plans, which run together: each state they share is computed and held once.

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
    found: dict[Prefix, np.ndarray] = {}
    for at, batch, last in _prompts(model, examples, batch_size):

        def read(prefix: Prefix, output: torch.Tensor, at: list[int] = at, last: Last = last) -> None:
            if prefix not in found:
                found[prefix] = np.empty((len(examples), output.shape[-1]), dtype=np.float32)
            found[prefix][at] = last(output).float().numpy()

        for _ in sweep(model, plans, batch, keep=1, schedule=replace(schedule, reuse=None), read=read):
            if on_batch:
                on_batch(len(at))
    for prefix, seen in found.items():
        gone = [layer for layer, step in enumerate(prefix) if step.dropped]
        _check_finite(seen[None], [f"after layer {len(prefix) - 1}"], Plan.drop(plans[0].n_layers, gone))
    return found


def stream_states(model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16) -> np.ndarray:
    """As `states`, with the state before the first layer at their head: (kept layer + 1, example, width)."""
    return _collected(model, plan, examples, batch_size, residual_stream, 1)


def updates(
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
    watch = branch_stream if grain == "branch" else residual_stream
    with apply(model, plan):
        places: Sequence[Place] = (
            branch_places(model) if grain == "branch" else [(at, None) for at in range(len(plan.kept))]
        )
    numbered = [(plan.kept[at], branch) for at, branch in places]
    parts, order = [], []
    for at, stream in _batches(model, plan, examples, batch_size, watch):
        _check_finite(stream, ["before the first layer", *(f"after layer {layer}" for layer, _ in numbered)], plan)
        parts.append(steps(stream))
        order += at
    return summary(joined(parts, order), numbered, plan, seed)


def attribution(
    model: PreTrainedModel,
    seen: Sequence[Example],
    reference: Sequence[Example],
    layers: Sequence[int],
    batch_size: int = 16,
    seed: int = 0,
    on_layer: Callable[[], None] = lambda: None,
) -> tuple[Attribution, ...]:
    """Each layer's own share of the norm and the distance deviation of some prompts from others (geometry/attribution.py).

    Args:
        model: left as it was.
        seen: OOD examples, others than those any gain is measured on.
        reference: ID examples.
        layers: those to drop one by one for their share by removal, each a run over `seen`.
        batch_size: prompts run at once.
        seed: of the intervals.
        on_layer: called after each layer that was dropped.

    Raises:
        ModelError: the model cannot do without one of `layers`.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    full = Plan.full(len(find_layers(model)))
    own, against = (shape(stream_states(model, full, examples, batch_size)) for examples in (seen, reference))
    plans = {layer: Plan.drop(full.n_layers, [layer]) for layer in layers}

    def without() -> Iterator[tuple[int, Shape]]:
        for layer, plan in plans.items():
            yield layer, shape(states(model, plan, seen, batch_size))
            on_layer()

    return attribute(own, against, without(), seed)


def _batches(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int, watch: Watch
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Which examples, and what is watched at their last tokens under a plan: float64 of shape (place, example, width)."""
    for at, batch, last in _prompts(model, examples, batch_size):
        found: list[torch.Tensor] = []

        def read(place: int, output: torch.Tensor, found: list[torch.Tensor] = found, last: Last = last) -> None:
            found.append(last(output).double())

        with apply(model, plan):
            watch(model, batch, read)
        yield at, torch.stack(found).numpy()


def _prompts(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor], Last]]:
    """Which examples, their prompts as a batch, and what takes the last tokens' states; the longest come first."""
    if not examples:
        raise ValueError("no examples to observe")
    order = sorted(range(len(examples)), key=lambda at: -len(examples[at].prompt))
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        batch = collate(model, [examples[index].prompt for index in at])
        yield at, batch, partial(_last, last_tokens(batch))


def _last(ends: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """The states of the last tokens: (batch, width)."""
    rows = torch.arange(len(states), device=states.device)
    return states[rows, ends.to(states.device)].cpu()


def _collected(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int, watch: Watch, first: int
) -> np.ndarray:
    """All examples' states in float32, the first `first` of them from before the first layer."""
    found: np.ndarray | None = None
    for at, seen in _batches(model, plan, examples, batch_size, watch):
        if found is None:
            found = np.empty((len(seen), len(examples), seen.shape[2]), dtype=np.float32)
        found[:, at] = seen
    assert found is not None
    _check_finite(found, ["before the first layer"] * first + [f"after layer {layer}" for layer in plan.kept], plan)
    return found


def _check_finite(states: np.ndarray, places: Sequence[str], plan: Plan) -> None:
    broken = ~np.isfinite(states).all(axis=(1, 2))
    if broken.any():
        raise NonFiniteError(f"the states {places[int(broken.argmax())]} are NaN or infinite under plan '{plan}'")


def similarity(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_size: int = 16,
    on_batch: Callable[[int], None] | None = None,
) -> Similarity:
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
    order, layers = sorted(examples, key=lambda example: -len(example.prompt)), len(find_layers(model))
    sums, angles, tokens = np.zeros((2, layers)), np.zeros((layers + 1, layers + 1)), 0
    for start in range(0, len(order), batch_size):
        prompts = [example.prompt for example in order[start : start + batch_size]]
        changes, last = _stream(model, collate(model, prompts))
        tokens += sum(len(prompt) for prompt in prompts)
        sums += changes
        angles += angular_distances(last) * len(prompts)
        if on_batch:
            on_batch(len(prompts))
    return Similarity(influence=sums[0] / tokens, magnitude=sums[1] / tokens, angles=angles / len(order))


def _stream(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Block influence and relative magnitude summed over a batch's tokens, (2, layer), and the states of the last
    tokens, (layer + 1, example, width). Only two layers' states are held at once."""
    real, ends = batch["attention_mask"].bool(), last_tokens(batch)
    before: np.ndarray | None = None
    changes: list[tuple[float, float]] = []
    last: list[np.ndarray] = []

    def read(depth: int, states: torch.Tensor) -> None:
        nonlocal before
        after = states[real.to(states.device)].float().cpu().numpy()
        if before is not None:
            try:
                changes.append((influence(before, after).sum(), magnitude(before, after).sum()))
            except NonFiniteError as error:
                raise NonFiniteError(f"around layer {depth - 1}, {error}") from error
        before = after
        rows = torch.arange(len(states), device=states.device)
        last.append(states[rows, ends.to(states.device)].float().cpu().numpy())

    residual_stream(model, batch, read)
    return np.array(changes).T, np.stack(last)
