"""Many plans in one pass over the layers: what plans share is computed once.

The plans form a prefix tree. The model's own forward runs once for a batch with every layer wrapped: the wrapper
advances each stream (the hidden states of plans that have been the same so far) with the arguments the model hands
that layer, and splits it where plans part. Every stream is then finished by the model's own forward again, with its
layers replaced by "return this stream", so that norm, head, soft-capping and pooling are the model's own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tapioca.models.branches import CACHES, argument_names, replaced_forward
from tapioca.models.edit import apply, check_fits, stepped
from tapioca.models.find import find_layers
from tapioca.models.inputs import forward
from tapioca.records import Plan
from tapioca.records.tree import Step, in_order, steps


def sweep(
    model: PreTrainedModel, plans: Sequence[Plan], batch: dict[str, torch.Tensor], keep: int
) -> Generator[tuple[Plan, torch.Tensor]]:
    """Run one batch under many plans.

    The outputs are bit for bit those of `forward` on the same batch under each plan alone. Where a model hands
    streams from layer to layer in a way that cannot be followed, each plan is run alone. The model must not be used
    for anything else while the iteration goes on.

    Args:
        model: left as it was when the iterator is exhausted or closed.
        plans: for this model; repeated ones are run once.
        batch: from `collate`.
        keep: number of last positions whose outputs are wanted.

    Yields:
        Each plan with its outputs: (batch, keep, output), float32. Plans come in the order of their tree.

    Raises:
        ModelError: a plan does not fit the model.
    """
    for plan in plans:
        check_fits(plan, model)
    ordered = in_order(plans)
    common = set.intersection(*(set(plan.drops) for plan in ordered))
    with apply(model, Plan.drop(ordered[0].n_layers, common)):
        found = _Tree(model, ordered, batch, keep) if len(ordered) > 1 else None
        if found is not None and found.grow():
            yield from found.finish()
            return
    for plan in ordered:
        with apply(model, plan):
            outputs = forward(model, batch, keep)
        yield plan, outputs


class _Unfollowed(Exception):
    """The model does something to the stream between its layers, or shares state among them."""


@dataclass
class _Stream:
    """Hidden states, and the plans they are the states of."""

    states: torch.Tensor
    plans: list[Plan]


@dataclass
class _Tree:
    """One batch on its way through the layers under many plans; the model is under what all of them drop."""

    model: PreTrainedModel
    plans: list[Plan]
    batch: dict[str, torch.Tensor]
    keep: int
    streams: list[_Stream] = field(default_factory=list)
    rest: tuple[Any, ...] = ()
    outputs: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.steps = {plan: steps(plan) for plan in self.plans}
        common = set.intersection(*(set(plan.drops) for plan in self.plans))
        self.layers = [layer for layer in range(self.plans[0].n_layers) if layer not in common]
        self.blocks = list(find_layers(self.model).blocks)

    def grow(self) -> bool:
        """Advance all streams through all layers; False where the model does not let itself be followed."""
        try:
            with ExitStack() as stack:
                for place, block in enumerate(self.blocks):
                    stack.enter_context(replaced_forward(block, partial(self._advance, place, block.forward)))
                self.outputs = forward(self.model, self.batch, self.keep)
        except _Unfollowed:
            self.streams.clear()
            return False
        return True

    def finish(self) -> Iterator[tuple[Plan, torch.Tensor]]:
        """The outputs of every stream; the first has them from `grow`."""
        outputs, self.outputs = self.outputs, None
        while self.streams:
            stream = self.streams.pop(0)
            if outputs is None:
                with self._returning(stream.states):
                    outputs = forward(self.model, self.batch, self.keep)
            for plan in stream.plans:
                yield plan, outputs
            outputs = None

    @contextmanager
    def _returning(self, states: torch.Tensor) -> Iterator[None]:
        """Every layer returns these states."""
        answer = (states, *self.rest) if self.rest else states
        with ExitStack() as stack:
            for block in self.blocks:
                stack.enter_context(replaced_forward(block, lambda *_, **__: answer))
            yield

    def _advance(self, place: int, own: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer's forward: take every stream through the layer."""
        block, name = self.blocks[place], argument_names(self.blocks[place])[0]
        came = args[0] if args else kwargs[name]
        if place == 0:
            self.streams = [_Stream(came, self.plans)]
        elif came is not self.streams[0].states or _shared(args, kwargs):
            raise _Unfollowed
        grown = []
        with replaced_forward(block, own):
            for stream in self.streams:
                for step, plans in self._parted(stream.plans, place):
                    states = stream.states
                    if not step.dropped:
                        states = self._run(block, step, states, args, kwargs, name)
                    grown.append(_Stream(states, plans))
        self.streams = grown
        return (grown[0].states, *self.rest) if self.rest else grown[0].states

    def _parted(self, plans: Sequence[Plan], place: int) -> list[tuple[Step, list[Plan]]]:
        """The plans of one stream by what they do with a layer."""
        parted: dict[Step, list[Plan]] = {}
        for plan in plans:
            parted.setdefault(self.steps[plan][self.layers[place]], []).append(plan)
        return list(parted.items())

    def _run(
        self, block: nn.Module, step: Step, states: torch.Tensor, args: Any, kwargs: dict[str, Any], name: str
    ) -> torch.Tensor:
        """One stream through one layer."""
        with stepped(self.model, block, step):
            given = {**kwargs, name: states} if not args else kwargs
            output = block.forward(*([states, *args[1:]] if args else []), **given)
        if isinstance(output, tuple):
            self.rest = output[1:]
            return output[0]
        self.rest = ()
        return output


def _shared(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether layers write into something they share, which the streams would share too."""
    held = [*args, *kwargs.values()]
    return any(isinstance(value, dict) for value in held) or any(kwargs.get(name) is not None for name in CACHES)
