"""Many plans in one pass over the layers: what plans share is computed once.

The plans form a prefix tree. The model's own forward runs once for a batch with every layer wrapped: the wrapper
advances each stream (the hidden states of plans that have been the same so far) with the arguments the model hands
that layer, and splits it where plans part. Every stream is then finished by the model's own forward again, with its
layers replaced by "return this stream", so that norm, head, soft-capping and pooling are the model's own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from accelerate.utils import release_memory
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.call import Unfollowed
from tapioca.models.edit import apply, check_fits
from tapioca.models.feed import Count, Feed, Means, Reader
from tapioca.models.find import find_layers
from tapioca.models.inputs import collate, device_of, forward
from tapioca.models.known import Reuse
from tapioca.models.opening import Opening
from tapioca.models.streams import Streams
from tapioca.models.watch import reading
from tapioca.records import Plan
from tapioca.records.tree import common_drops, in_order, steps

Way = Literal["auto", "single", "stacked"]
"""How streams go through a layer: one after the other, or several at once on the batch axis."""


@dataclass(frozen=True)
class Schedule:
    """How plans run together; it changes no answer, but for the rounding of stacked streams.

    Attributes:
        way: "auto" stacks streams on accelerators and where weights are offloaded, since those wait for weights and
            launches, not for arithmetic.
        memory: bytes that the hidden states of all streams may take; only how many run at once depends on it.
        reuse: states kept from one sweep for the next.
    """

    way: Way = "auto"
    memory: int | None = None
    reuse: Reuse | None = None


DEFAULT = Schedule()


def sweep(
    model: PreTrainedModel,
    plans: Sequence[Plan],
    batch: dict[str, torch.Tensor],
    keep: int,
    schedule: Schedule = DEFAULT,
    name: str = "",
    count: Count | None = None,
    opening: Opening | None = None,
    read: Reader | None = None,
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run one batch under many plans.

    One after the other, streams give bit for bit the outputs of `forward` on the same batch under each plan alone.
    Stacked, they run as fewer and larger kernels whose rounding may differ; so do rows behind an opening, from rows
    that hold it themselves. Where a model hands streams from layer to layer in a way that cannot be followed, each plan
    is run alone. Where a device runs out of memory, the states kept from earlier sweeps go first, and half as many plans
    run at once, down to one. The model must not be used for anything else while the iteration goes on.

    Args:
        model: left as it was when the iterator is exhausted or closed.
        plans: for this model; repeated ones are run once.
        batch: from `collate`, or from the `batch` of the opening.
        keep: number of last positions whose outputs are wanted.
        schedule: how they run together.
        name: of the batch, by which states are reused.
        count: told what was computed.
        opening: what stands before every row.
        read: told the states after each layer that a plan keeps, with no schedule that reuses states: those reused are
            not told again.

    Yields:
        Each plan with its outputs: (batch, keep, output), float32. Plans come in the order of their tree.

    Raises:
        ModelError: a plan does not fit the model, `memory` does not hold two streams, or the device not even one plan.
        Unfollowed: there is an opening, and the model does not let itself be followed.
    """
    check_fits(model, *plans)
    ordered = in_order(plans)
    stacked = stacks(model, schedule)
    known = schedule.reuse.of(name) if schedule.reuse else None
    if known:
        known.prepare([steps(plan) for plan in ordered], _state_bytes(model, batch))
    means = Means(stacked, known, count or Count(), read)
    if opening and not opening.kept:
        _read_opening(model, opening, ordered[:1], means)  # shows how much there is to keep
    most = _most_streams(model, batch, schedule.memory, opening)
    while ordered:
        running = ordered[:most]
        try:
            if opening:
                _read_opening(model, opening, running, means)
            with closing(_together(model, running, Feed(batch, keep, opening), means)) as finished:
                for plan, outputs in finished:
                    yield plan, outputs
                    ordered.remove(plan)
            continue
        except torch.OutOfMemoryError as error:
            if len(running) == 1 and not means.known:
                raise _too_large(model, batch) from error
        # here, since the error holds every tensor of the frames it came through
        if schedule.reuse:
            schedule.reuse.forget()
        means, most = replace(means, known=None), max(1, len(running) // 2)
        release_memory()


def _read_opening(model: PreTrainedModel, opening: Opening, plans: list[Plan], means: Means) -> None:
    """Let the opening alone go through the layers, under the plans under which it has not."""
    if plans := opening.missing(plans):
        feed = Feed(collate(model, [opening.ids]), 1, opening, taking=True)
        with apply(model, common_drops(plans)):
            if not _grown(model, plans, feed, replace(means, known=None, read=None)):
                raise Unfollowed


def stacks(model: PreTrainedModel, schedule: Schedule) -> bool:
    """Whether streams go through a layer several at once."""
    return schedule.way == "stacked" or (schedule.way == "auto" and _waits(model))


def _together(
    model: PreTrainedModel, plans: list[Plan], feed: Feed, means: Means
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run some plans as one tree where that is possible, else one by one."""
    if len(plans) > 1 or means.known or feed.opening:
        with apply(model, common_drops(plans)):
            if streams := _grown(model, plans, feed, means):
                yield from streams.finish()
                return
    if feed.opening:
        raise Unfollowed
    for plan in plans:
        with apply(model, plan), _read_alone(model, plan, means.read):
            outputs = forward(model, feed.batch, feed.keep)
        rows, tokens = feed.batch[model.main_input_name].shape[:2]
        means.count.add(rows, tokens, sum(step.work for step in steps(plan)))
        yield plan, outputs


def _read_alone(model: PreTrainedModel, plan: Plan, read: Reader | None) -> AbstractContextManager[None]:
    """Tell a reader the states of a plan that is applied and runs alone."""
    if read is None:
        return nullcontext()
    return reading(model, lambda place, states: read(plan.kept[place], states, [plan]))


def _grown(model: PreTrainedModel, plans: list[Plan], feed: Feed, means: Means) -> Streams | None:
    """All streams at the end of the layers, one after the other where the model does not take them stacked."""
    for stacked in sorted({means.stacked, False}, reverse=True):
        streams = Streams(model, plans, feed, replace(means, stacked=stacked))
        if streams.grow():
            return streams
    return None


def _most_streams(
    model: PreTrainedModel, batch: dict[str, torch.Tensor], memory: int | None, opening: Opening | None
) -> int:
    """How many streams of a batch a budget holds; the states that a stream comes from count too, and what attention
    keeps of an opening."""
    if memory is None:
        return 1_000_000
    rows, tokens = batch[model.main_input_name].shape[:2]
    row = _state_bytes(model, batch) // rows
    ahead = opening.bytes() * len(find_layers(model)) if opening else 0
    most = (memory - rows * row) // (rows * row + ahead)
    if most < 1:
        fitting = (memory - ahead) // (2 * row)
        advice = f"use --batch-size {fitting}" if fitting > 0 else "allow more, or shorten the examples"
        raise ModelError(
            f"--memory of {memory:,} bytes does not hold two streams of {rows} rows of {tokens} tokens, "
            f"{2 * rows * row + ahead:,} bytes; {advice}"
        )
    return int(most)


def _too_large(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> ModelError:
    """The device does not hold what a single plan needs."""
    rows, tokens = batch[model.main_input_name].shape[:2]
    advice = "halve --batch-size" if rows > 1 else "shorten the examples, or load with --dtype bfloat16"
    return ModelError(f"{device_of(model)} has no memory for {rows} rows of {tokens} tokens under one plan; {advice}")


def _state_bytes(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> int:
    """Bytes of one stream's hidden states."""
    rows, tokens = batch[model.main_input_name].shape[:2]
    return int(rows * tokens * model.config.get_text_config(decoder=True).hidden_size * model.dtype.itemsize)


def _waits(model: PreTrainedModel) -> bool:
    """Whether a layer's weights or launches cost more than its arithmetic."""
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    return device_of(model).type != "cpu" or any(getattr(hook, "offload", False) for hook in hooks)
