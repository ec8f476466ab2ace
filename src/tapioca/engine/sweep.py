"""Many plans in one pass over the layers: what plans share is computed once.

The plans form a prefix tree. The model's own forward runs once for a batch with every layer wrapped: the wrapper
advances each stream (the hidden states of plans that have been the same so far) with the arguments the model hands
that layer, and splits it where plans part. Every stream is then finished by the model's own forward again, with its
layers replaced by "return this stream", so that norm, head, soft-capping and pooling are the model's own.
"""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from accelerate.utils import release_memory
from transformers import PreTrainedModel

from tapioca.engine.layer_call import UntraceableModelError
from tapioca.engine.options import OnStates, SweepInput, SweepOptions
from tapioca.engine.shared_prefix import SharedPrefix
from tapioca.engine.state_cache import StateCache
from tapioca.engine.streams import Streams
from tapioca.errors import ModelError
from tapioca.models.capture import capture_layers
from tapioca.models.edit import apply, check_fits
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, find_input_device, is_offloaded, run_forward
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import count_layers_alone, intersect_drops, list_steps, sort_by_prefix
from tapioca.records import ComputeCost

Batching = Literal["auto", "single", "stacked"]
"""How streams go through a layer: one after the other, or several at once on the batch axis."""


@dataclass(frozen=True)
class Schedule:
    """How plans run together; it changes no answer, but for the rounding of stacked streams.

    Attributes:
        way: "auto" stacks streams on accelerators and where weights are offloaded, since those wait for weights and
            launches, not for arithmetic.
        max_bytes: bytes that the hidden states of all streams may take; only how many run at once depends on it.
        state_cache: states kept from one sweep for the next.
    """

    way: Batching = "auto"
    max_bytes: int | None = None
    state_cache: StateCache | None = None


DEFAULT_SCHEDULE = Schedule()


def sweep(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    sweep_input: SweepInput,
    schedule: Schedule = DEFAULT_SCHEDULE,
    cost: ComputeCost | None = None,
    on_states: OnStates | None = None,
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run one batch under many plans.

    One after the other, streams give bit for bit the outputs of `forward` on the same batch under each plan alone.
    Stacked, they run as fewer and larger kernels whose rounding may differ; so do rows behind an opening or a context,
    from rows that hold it themselves. Where a model hands streams from layer to layer in a way that cannot be followed,
    each plan is run alone, and so are plans that repeat layers or set norms. Where a device runs out of memory, the states
    kept from earlier sweeps go first, and half as many plans run at once, down to one. The model must not be used for
    anything else while the iteration goes on.

    Args:
        model: left as it was when the iterator is exhausted or closed.
        plans: repeated ones are run once.
        sweep_input: the batch, and what of its outputs is wanted.
        schedule: how plans run together.
        cost: told what was computed.
        on_states: handed the states after every layer, once for plans that are the same up to it; with states reused from
            an earlier sweep, only those computed in this one.

    Yields:
        Each plan with its outputs: (batch, kept position, output), float32. Plans come in the order of their tree, those
        that run alone last.

    Raises:
        ModelError: a plan does not fit the model, `max_bytes` do not hold two streams, or the device not even one plan.
        UntraceableModelError: there is an opening, or rows are continued, and the model does not let itself be followed,
            or a plan runs alone.
    """
    check_fits(model, *plans)
    ordered_plans = sort_by_prefix(plans)
    sharing_plans = [plan for plan in ordered_plans if not plan.runs_alone]
    batch_states = schedule.state_cache.states_of(sweep_input.name) if schedule.state_cache else None
    if batch_states and sharing_plans:
        step_sequences = [list_steps(plan) for plan in sharing_plans]
        batch_states.prepare(step_sequences, _count_state_bytes(model, sweep_input))
    options = SweepOptions(uses_stacking(model, schedule), batch_states, cost or ComputeCost(), on_states)
    single_plans = [[plan] for plan in ordered_plans if plan.runs_alone]
    if single_plans and sweep_input.needs_cache:
        raise UntraceableModelError
    for group in filter(None, (sharing_plans, *single_plans)):
        yield from _run_in_groups(model, group, sweep_input, options, schedule)


def _run_in_groups(
    model: PreTrainedModel,
    remaining_plans: list[Plan],
    sweep_input: SweepInput,
    options: SweepOptions,
    schedule: Schedule,
) -> Generator[tuple[Plan, torch.Tensor]]:
    """As many plans at once as the budget holds, and half as many each time that the device does not."""
    shared_prefix = sweep_input.shared_prefix
    if shared_prefix and not shared_prefix.layer_by_input:
        _prefill_shared_prefix(model, shared_prefix, remaining_plans[:1], options)  # shows how much there is to keep
    max_streams = _find_max_streams(model, sweep_input, schedule.max_bytes)
    while remaining_plans:
        running = remaining_plans[:max_streams]
        try:
            if shared_prefix:
                _prefill_shared_prefix(model, shared_prefix, running, options)
            with closing(_run_plans(model, running, sweep_input, options)) as finished:
                for plan, outputs in finished:
                    yield plan, outputs
                    remaining_plans.remove(plan)
            continue
        except torch.OutOfMemoryError as error:
            if len(running) == 1 and not options.batch_states:
                raise _out_of_memory_error(model, sweep_input) from error
        # here, since the error holds every tensor of the frames it came through
        if schedule.state_cache:
            schedule.state_cache.clear()
        options, max_streams = replace(options, batch_states=None), max(1, len(running) // 2)
        release_memory()


def _prefill_shared_prefix(
    model: PreTrainedModel, shared_prefix: SharedPrefix, plans: list[Plan], options: SweepOptions
) -> None:
    """Let the opening alone go through the layers, under the plans under which it has not."""
    if plans := shared_prefix.list_unread_plans(plans):
        sweep_input = SweepInput(collate(model, [shared_prefix.ids]), 1, shared_prefix=shared_prefix, prefilling=True)
        with apply(model, intersect_drops(plans)):
            if not _run_streams(model, plans, sweep_input, replace(options, batch_states=None, on_states=None)):
                raise UntraceableModelError


def uses_stacking(model: PreTrainedModel, schedule: Schedule) -> bool:
    """Whether streams go through a layer several at once."""
    return schedule.way == "stacked" or (schedule.way == "auto" and _is_latency_bound(model))


def _run_plans(
    model: PreTrainedModel, plans: list[Plan], sweep_input: SweepInput, options: SweepOptions
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run some plans as one tree where that is possible, else one by one."""
    if len(plans) > 1 or (not plans[0].runs_alone and (options.batch_states or sweep_input.needs_cache)):
        with apply(model, intersect_drops(plans)):
            if streams := _run_streams(model, plans, sweep_input, options):
                yield from streams.finish_streams()
                return
    if sweep_input.needs_cache:
        raise UntraceableModelError
    for plan in plans:
        with apply(model, plan), _capture_alone(model, plan, options.on_states):
            outputs = run_forward(model, sweep_input.batch, sweep_input.logits_to_keep)
        rows, tokens = _batch_shape(model, sweep_input)
        layers = count_layers_alone(plan) * rows
        options.cost.add(ComputeCost(layers=layers, tokens=layers * tokens))
        yield plan, sweep_input.gather([outputs])


def _capture_alone(model: PreTrainedModel, plan: Plan, read: OnStates | None) -> AbstractContextManager[None]:
    """Hand over the states of one plan that is applied already."""
    if not read:
        return nullcontext()
    plan_steps = list_steps(plan)
    return capture_layers(model, lambda place, states: read(plan_steps[: plan.order[place] + 1], states))


def _run_streams(
    model: PreTrainedModel, plans: list[Plan], sweep_input: SweepInput, options: SweepOptions
) -> Streams | None:
    """All streams at the end of the layers, one after the other where the model does not take them stacked."""
    for stacked in sorted({options.stacked, False}, reverse=True):
        streams = Streams(model, plans, sweep_input, replace(options, stacked=stacked))
        if streams.run_layers():
            return streams
    return None


def _find_max_streams(model: PreTrainedModel, sweep_input: SweepInput, memory: int | None) -> int:
    """How many streams of a batch a budget holds; the states that a stream comes from count too, and what attention
    keeps of an opening."""
    if memory is None:
        return 1_000_000
    (rows, tokens), state_bytes = _batch_shape(model, sweep_input), _count_state_bytes(model, sweep_input)
    shared_prefix = sweep_input.shared_prefix
    prefix_bytes = shared_prefix.max_layer_bytes() * len(find_layers(model)) if shared_prefix else 0
    max_streams = (memory - state_bytes) // (state_bytes + prefix_bytes)
    if max_streams < 1:
        batch_size = (memory - prefix_bytes) * rows // (2 * state_bytes)
        advice = f"use --batch-size {batch_size}" if batch_size > 0 else "allow more, or shorten the examples"
        raise ModelError(
            f"--state-memory of {memory:,} bytes does not hold two streams of {rows} rows of {tokens} tokens, "
            f"{2 * state_bytes + prefix_bytes:,} bytes; {advice}"
        )
    return int(max_streams)


def _out_of_memory_error(model: PreTrainedModel, sweep_input: SweepInput) -> ModelError:
    """The device does not hold what a single plan needs."""
    rows, tokens = _batch_shape(model, sweep_input)
    advice = "halve --batch-size" if rows > 1 else "shorten the examples, or load with --dtype bfloat16"
    return ModelError(
        f"{find_input_device(model)} has no memory for {rows} rows of {tokens} tokens under one plan; {advice}"
    )


def _batch_shape(model: PreTrainedModel, sweep_input: SweepInput) -> tuple[int, int]:
    """Rows and tokens of a batch."""
    rows, tokens = sweep_input.batch[model.main_input_name].shape[:2]
    return rows, tokens


def _count_state_bytes(model: PreTrainedModel, sweep_input: SweepInput) -> int:
    """Bytes of one stream's hidden states."""
    continuations = sweep_input.continuations
    batches = [sweep_input.batch, *(continuations.batches if continuations else ())]
    tokens = sum(batch[model.main_input_name].shape[:2].numel() for batch in batches)
    return int(tokens * model.config.get_text_config(decoder=True).hidden_size * model.dtype.itemsize)


def _is_latency_bound(model: PreTrainedModel) -> bool:
    """Whether a layer's weights or launches cost more than its arithmetic."""
    return find_input_device(model).type != "cpu" or is_offloaded(model)
