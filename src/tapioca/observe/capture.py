"""The hidden states of examples at their last prompt token, under one plan or many.

Models are left as they were; prompts are read without their answers, `batch_size` of them at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel

from tapioca.engine.options import SweepInput
from tapioca.engine.sweep import DEFAULT_SCHEDULE, Schedule, sweep
from tapioca.errors import NonFiniteError
from tapioca.models.capture import capture_layer_outputs, capture_residual_stream
from tapioca.models.edit import apply
from tapioca.models.inputs import collate, find_last_tokens
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix
from tapioca.profiles.evidence import READS
from tapioca.records import Example

CaptureFunction = Callable[[PreTrainedModel, dict[str, torch.Tensor], Callable[[int, torch.Tensor], None]], None]
"""One of the functions of models/capture.py."""

SelectLastTokens = Callable[[torch.Tensor], torch.Tensor]
"""Takes the last tokens' states, (batch, width), from those of a batch."""

MakeSelector = Callable[[dict[str, torch.Tensor]], SelectLastTokens]
"""Makes from a batch what takes (batch, width) from its states."""


def _select_last(batch: dict[str, torch.Tensor]) -> SelectLastTokens:
    """Take the states of the last tokens: (batch, width)."""
    ends = find_last_tokens(batch)

    def select(states: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(states), device=states.device)
        return states[rows, ends.to(states.device)].cpu()

    return select


def _select_last_and_mean(batch: dict[str, torch.Tensor]) -> SelectLastTokens:
    """Take these beside the means over all tokens but each prompt's first: (batch, 2 * width)."""
    select_last, mask = _select_last(batch), batch["attention_mask"]
    counted = (mask.cumsum(1) > 1) & mask.bool()
    counted |= mask.bool() & (mask.sum(1, keepdim=True) == 1)
    weights = counted.float()

    def select(states: torch.Tensor) -> torch.Tensor:
        placed = weights.to(states.device)
        mean = torch.einsum("bt,btw->bw", placed, states.float()) / placed.sum(1, keepdim=True)
        return torch.cat([select_last(states).float(), mean.cpu()], dim=1)

    return select


def capture_states(model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16) -> np.ndarray:
    """Hidden states after each layer the plan keeps, at each prompt's last token, before the final norm; after the second run
    of a layer that it repeats.

    Returns:
        float32 of shape (kept layer, example, width).

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    return _collect_states(model, plan, examples, batch_size, capture_layer_outputs)


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
        schedule: how plans run together.
        on_batch: called with the number of examples that a plan is done with.

    Returns:
        float32 of shape (example, width) after every layer that is computed, by what was done with the full model's
        layers up to it. So a plan's state after a layer it keeps is at `steps(plan)[: layer + 1]`.

    Raises:
        NonFiniteError: a state is NaN or infinite; names the layer.
    """
    states_by_prefix: dict[Prefix, np.ndarray] = {}
    for indices, batch, last in iterate_prompts(model, examples, batch_size):

        def read(
            prefix: Prefix, output: torch.Tensor, indices: list[int] = indices, last: SelectLastTokens = last
        ) -> None:
            if prefix not in states_by_prefix:
                states_by_prefix[prefix] = np.empty((len(examples), output.shape[-1]), dtype=np.float32)
            states_by_prefix[prefix][indices] = last(output).float().numpy()

        for _ in sweep(model, plans, SweepInput(batch, 1), replace(schedule, state_cache=None), on_states=read):
            if on_batch:
                on_batch(len(indices))
    for prefix, prefix_states in states_by_prefix.items():
        dropped_layers = [layer for layer, step in enumerate(prefix) if step.dropped]
        refuse_non_finite(
            prefix_states[None], [f"after layer {len(prefix) - 1}"], Plan.drop(plans[0].n_layers, dropped_layers)
        )
    return states_by_prefix


def capture_stream_states(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16
) -> np.ndarray:
    """As `capture_states`, with the state before the first layer at their head: (kept layer + 1, example, width)."""
    return _collect_states(model, plan, examples, batch_size, capture_residual_stream)


def capture_last_and_mean_states(
    model: PreTrainedModel, plan: Plan, examples: Sequence[Example], batch_size: int = 16
) -> dict[str, np.ndarray]:
    """As `capture_stream_states`, and the means over all tokens but each prompt's first, whose norm swamps the rest, in one pass:
    by the names in `profiles.evidence.READS`.

    Where all prompts end in the same token, as templates' do, only the mean tells them apart before the first layer.
    """
    states = _collect_states(model, plan, examples, batch_size, capture_residual_stream, _select_last_and_mean)
    return dict(zip(READS, np.split(states, len(READS), axis=2), strict=True))


def capture_batches(
    model: PreTrainedModel,
    plan: Plan,
    examples: Sequence[Example],
    batch_size: int,
    watch: CaptureFunction,
    make_selector: MakeSelector = _select_last,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Which examples, and what is watched at their last tokens under a plan: float64 of shape (place, example, width).

    Args:
        make_selector: where something else is taken from a batch's states than those of the last tokens.
    """
    for indices, batch, selected in iterate_prompts(model, examples, batch_size, make_selector):
        captured_states: list[torch.Tensor] = []

        def read(
            place: int,
            output: torch.Tensor,
            captured_states: list[torch.Tensor] = captured_states,
            selected: SelectLastTokens = selected,
        ) -> None:
            captured_states.append(selected(output).double())

        with apply(model, plan):
            watch(model, batch, read)
        yield indices, torch.stack(captured_states).numpy()


def iterate_prompts(
    model: PreTrainedModel, examples: Sequence[Example], batch_size: int, make_selector: MakeSelector = _select_last
) -> Iterator[tuple[list[int], dict[str, torch.Tensor], SelectLastTokens]]:
    """Which examples, their prompts as a batch, and what takes the last tokens' states, or others; the longest come first."""
    if not examples:
        raise ValueError("no examples to observe")
    order = sorted(range(len(examples)), key=lambda indices: -len(examples[indices].prompt))
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = collate(model, [examples[index].prompt for index in indices])
        yield indices, batch, make_selector(batch)


def _collect_states(
    model: PreTrainedModel,
    plan: Plan,
    examples: Sequence[Example],
    batch_size: int,
    watch: CaptureFunction,
    make_selector: MakeSelector = _select_last,
) -> np.ndarray:
    """All examples' states in float32."""
    all_states: np.ndarray | None = None
    for indices, batch_states in capture_batches(model, plan, examples, batch_size, watch, make_selector):
        if all_states is None:
            all_states = np.empty((len(batch_states), len(examples), batch_states.shape[2]), dtype=np.float32)
        all_states[:, indices] = batch_states
    assert all_states is not None
    n_before = len(all_states) - len(plan.order)  # 1 where the state before the first layer is watched too
    places = [*["before the first layer"] * n_before, *(f"after layer {layer}" for layer in plan.order)]
    refuse_non_finite(all_states, places, plan)
    return (
        all_states[[*range(n_before), *(n_before + place for place in _find_last_runs(plan))]]
        if plan.repeats
        else all_states
    )


def _find_last_runs(plan: Plan) -> list[int]:
    """The place at which each kept layer runs last, of those that a plan repeats the second."""
    last_runs = {layer: place for place, layer in enumerate(plan.order)}
    return [last_runs[layer] for layer in plan.kept]


def refuse_non_finite(states: np.ndarray, places: Sequence[str], plan: Plan) -> None:
    broken = ~np.isfinite(states).all(axis=(1, 2))
    if broken.any():
        raise NonFiniteError(f"the states {places[int(broken.argmax())]} are NaN or infinite under plan '{plan}'")
