"""Many plans in one pass over the layers: what plans share is computed once.

The plans form a prefix tree. The model's own forward runs once for a batch with every layer wrapped: the wrapper
advances each stream (the hidden states of plans that have been the same so far) with the arguments the model hands
that layer, and splits it where plans part. Every stream is then finished by the model's own forward again, with its
layers replaced by "return this stream", so that norm, head, soft-capping and pooling are the model's own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel

from tapioca.errors import ModelError
from tapioca.models.edit import apply, check_fits
from tapioca.models.inputs import device_of, forward
from tapioca.models.known import Known, Reuse
from tapioca.models.streams import Count, Streams
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
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run one batch under many plans.

    One after the other, streams give bit for bit the outputs of `forward` on the same batch under each plan alone.
    Stacked, they run as fewer and larger kernels whose rounding may differ. Where a model hands streams from layer to
    layer in a way that cannot be followed, each plan is run alone. The model must not be used for anything else while
    the iteration goes on.

    Args:
        model: left as it was when the iterator is exhausted or closed.
        plans: for this model; repeated ones are run once.
        batch: from `collate`.
        keep: number of last positions whose outputs are wanted.
        schedule: how they run together.
        name: of the batch, by which states are reused.
        count: told how many layers were computed.

    Yields:
        Each plan with its outputs: (batch, keep, output), float32. Plans come in the order of their tree.

    Raises:
        ModelError: a plan does not fit the model, or `memory` does not hold two streams.
    """
    for plan in plans:
        check_fits(plan, model)
    ordered, most = in_order(plans), _most_streams(model, batch, schedule.memory)
    stacked = stacks(model, schedule)
    known = schedule.reuse.of(name) if schedule.reuse else None
    if known:
        known.prepare([steps(plan) for plan in ordered], _state_bytes(model, batch))
    for start in range(0, len(ordered), most):
        yield from _together(model, ordered[start : start + most], batch, keep, stacked, known, count or Count())


def stacks(model: PreTrainedModel, schedule: Schedule) -> bool:
    """Whether streams go through a layer several at once."""
    return schedule.way == "stacked" or (schedule.way == "auto" and _waits(model))


def _together(
    model: PreTrainedModel,
    plans: list[Plan],
    batch: dict[str, torch.Tensor],
    keep: int,
    stacked: bool,
    known: Known | None,
    count: Count,
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run some plans as one tree where that is possible, else one by one."""
    if len(plans) > 1 or known:
        with apply(model, common_drops(plans)):
            streams = Streams(model, plans, batch, keep, stacked, known, count)
            if streams.grow():
                yield from streams.finish()
                return
    for plan in plans:
        with apply(model, plan):
            outputs = forward(model, batch, keep)
        count.layers += sum(step.work for step in steps(plan))
        yield plan, outputs


def _most_streams(model: PreTrainedModel, batch: dict[str, torch.Tensor], memory: int | None) -> int:
    """How many streams of a batch a budget holds; the states that a stream comes from count too."""
    if memory is None:
        return 1_000_000
    rows, tokens = batch[model.main_input_name].shape[:2]
    row = _state_bytes(model, batch) // rows
    most = memory // (rows * row) - 1
    if most < 1:
        fitting = memory // (2 * row)
        advice = f"use --batch-size {fitting}" if fitting else "allow more, or shorten the examples"
        raise ModelError(
            f"--memory of {memory:,} bytes does not hold two streams of {rows} rows of {tokens} tokens, "
            f"{2 * rows * row:,} bytes; {advice}"
        )
    return int(most)


def _state_bytes(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> int:
    """Bytes of one stream's hidden states."""
    rows, tokens = batch[model.main_input_name].shape[:2]
    return int(rows * tokens * model.config.get_text_config(decoder=True).hidden_size * model.dtype.itemsize)


def _waits(model: PreTrainedModel) -> bool:
    """Whether a layer's weights or launches cost more than its arithmetic."""
    hooks = (getattr(module, "_hf_hook", None) for module in model.modules())
    return device_of(model).type != "cpu" or any(getattr(hook, "offload", False) for hook in hooks)
