"""Model + plan + examples -> the hidden states at the last prompt token, and how much each layer changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.errors import NonFiniteError
from tapioca.geometry.attribution import attribute
from tapioca.geometry.profiles import shape
from tapioca.geometry.similarity import Similarity, angular_distances, influence, magnitude
from tapioca.geometry.updates import Place, joined, steps, summary
from tapioca.models.edit import apply
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, last_tokens
from tapioca.models.sweep import DEFAULT, Schedule, sweep
from tapioca.models.watch import branch_places, branch_stream, layer_outputs, residual_stream
from tapioca.records import Attribution, Example, Plan, Updates

Watch = Callable[[PreTrainedModel, dict[str, torch.Tensor], Callable[[int, torch.Tensor], None]], None]
"""One of the functions of models/watch.py."""

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


def swept_states(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    examples: Sequence[Example],
    layers: Sequence[int],
    batch_size: int = 16,
    schedule: Schedule = DEFAULT,
    on_batch: Callable[[int], None] | None = None,
) -> dict[Plan, np.ndarray]:
    """As `states`, of several plans from one sweep over each batch, and after some layers that all of them keep.

    Returns:
        By plan, float32 of shape (layer, example, width). All are held at once.

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    found: dict[Plan, np.ndarray] = {}
    for at, batch, ends in _cut(model, examples, batch_size):

        def read(
            layer: int, states: torch.Tensor, seen: Sequence[Plan], at: list[int] = at, ends: torch.Tensor = ends
        ) -> None:
            if layer in layers:
                last = states[torch.arange(len(states), device=states.device), ends.to(states.device)].float().cpu()
                for plan in seen:
                    size = (len(layers), len(examples), last.shape[1])
                    found.setdefault(plan, np.empty(size, dtype=np.float32))[layers.index(layer), at] = last.numpy()

        with closing(sweep(model, plans, batch, 1, replace(schedule, reuse=None), read=read)) as swept:
            for _ in swept:
                if on_batch:
                    on_batch(len(at))
    for plan, states in found.items():
        _check_finite(states, [f"after layer {layer}" for layer in layers], plan)
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
) -> tuple[Attribution, ...]:
    """Each layer's own share of the norm and the distance deviation of some prompts from others (geometry/attribution.py).

    Args:
        model: left as it was.
        seen: OOD examples, others than those any gain is measured on.
        reference: ID examples.
        layers: those to drop one by one for their share by removal, each a run over `seen`.
        batch_size: prompts run at once.
        seed: of the intervals.

    Raises:
        ModelError: the model cannot do without one of `layers`.
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    full = Plan.full(len(find_layers(model)))
    own, against = (shape(stream_states(model, full, examples, batch_size)) for examples in (seen, reference))
    plans = {layer: Plan.drop(full.n_layers, [layer]) for layer in layers}
    without = ((layer, shape(states(model, plan, seen, batch_size))) for layer, plan in plans.items())
    return attribute(own, against, without, seed)


def _batches(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int, watch: Watch
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Which examples, and what is watched at their last tokens under a plan: float64 of shape (place, example, width)."""
    for at, batch, ends in _cut(model, examples, batch_size):
        last: list[torch.Tensor] = []

        def read(place: int, output: torch.Tensor, last: list[torch.Tensor] = last, ends: torch.Tensor = ends) -> None:
            rows = torch.arange(len(output), device=output.device)
            last.append(output[rows, ends.to(output.device)].cpu().double())

        with apply(model, plan):
            watch(model, batch, read)
        yield at, torch.stack(last).numpy()


def _cut(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor], torch.Tensor]]:
    """Batches of prompts, the longest first: which examples, what the model reads, and where each prompt ends."""
    if not examples:
        raise ValueError("no examples to observe")
    order = sorted(range(len(examples)), key=lambda at: -len(examples[at].prompt))
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        batch = collate(model, [examples[index].prompt for index in at])
        yield at, batch, last_tokens(batch)


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
