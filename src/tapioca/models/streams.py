"""The streams of one batch on their way through the layers of a model."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tapioca.models.branches import CACHES, argument_names, replaced_forward
from tapioca.models.edit import stepped
from tapioca.models.find import find_layers
from tapioca.models.inputs import forward
from tapioca.models.known import Known
from tapioca.records import Plan
from tapioca.records.tree import Prefix, Step, common_drops, steps

ROUNDING = 64
"""Roundings of the model's dtype, relative to the largest state, that stacking may change a layer's output by."""


@dataclass
class Stream:
    """Hidden states (batch, token, width), and the plans they are the states of."""

    states: torch.Tensor
    plans: list[Plan]


@dataclass
class Count:
    """What was computed for a batch, in all streams.

    Attributes:
        layers: how many layers; one without a branch counts half.
        difference: the largest found between a layer's states for stacked streams and for one of them alone, as a
            share of the largest state; None where nothing was stacked.
    """

    layers: float = 0.0
    difference: float | None = None


class Unfollowed(Exception):
    """The model changes the stream between its layers, lets layers share state, or cannot take a stacked batch."""


class Streams:
    """One batch under many plans.

    Args:
        model: under what all plans drop.
        plans: distinct, in the order of their tree.
        batch: from `collate`.
        keep: number of last positions whose outputs are wanted.
        stacked: whether several streams go through a layer at once.
        known: states of this batch that need not be computed again, and where to keep those met on the way.
        count: told what was computed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        plans: list[Plan],
        batch: dict[str, torch.Tensor],
        keep: int,
        stacked: bool,
        known: Known | None,
        count: Count,
    ):
        self.model, self.plans, self.batch, self.keep, self.stacked = model, plans, batch, keep, stacked
        self._steps = {plan: steps(plan) for plan in plans}
        self._layers = common_drops(plans).kept
        self._blocks = list(find_layers(model).blocks)
        self._known, self._count = known, count
        self._enter = self._entries()
        self._streams: list[Stream] = []
        self._handed: torch.Tensor | None = None
        self._rest: tuple[Any, ...] | None = None
        self._outputs: torch.Tensor | None = None
        self._checked: set[tuple[Any, ...]] = set()

    def grow(self) -> bool:
        """Take all streams through all layers; False where the model does not let itself be followed."""
        try:
            with ExitStack() as stack:
                for place, block in enumerate(self._blocks):
                    stack.enter_context(replaced_forward(block, partial(self._advance, place, block.forward)))
                self._outputs = forward(self.model, self.batch, self.keep)
        except Unfollowed:
            self._streams.clear()
            if self._known:
                self._known.states.clear()
            return False
        return True

    def finish(self) -> Iterator[tuple[Plan, torch.Tensor]]:
        """The outputs of every stream; the first has them from `grow`."""
        outputs, self._outputs = self._outputs, None
        while self._streams:
            stream = self._streams.pop(0)
            if outputs is None:
                with self._returning(stream.states):
                    outputs = forward(self.model, self.batch, self.keep)
            for plan in stream.plans:
                yield plan, outputs
            outputs = None

    def _entries(self) -> dict[int, dict[Prefix, list[Plan]]]:
        """The plans by the place at which they enter the pass: in front of the first layer that is not known for them."""
        entries: dict[int, dict[Prefix, list[Plan]]] = {}
        for plan in self.plans:
            depth = self._known.depth(self._steps[plan]) if self._known else 0
            place = sum(layer < depth for layer in self._layers)
            entries.setdefault(place, {}).setdefault(self._steps[plan][:depth], []).append(plan)
        return entries

    @contextmanager
    def _returning(self, states: torch.Tensor) -> Iterator[None]:
        """Every layer returns these states."""
        with ExitStack() as stack:
            for block in self._blocks:
                stack.enter_context(replaced_forward(block, lambda *_, **__: self._answer(states)))
            yield

    def _answer(self, states: torch.Tensor) -> Any:
        """Hidden states as a layer of this model returns them."""
        return states if self._rest is None else (states, *self._rest)

    def _advance(self, place: int, own: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer's forward: take every stream through the layer."""
        block = self._blocks[place]
        came = args[0] if args else kwargs[argument_names(block)[0]]
        if (place and came is not self._handed) or _shared(args, kwargs):
            raise Unfollowed
        self._join(place, came)
        if self._streams:
            with replaced_forward(block, own):
                self._streams = self._through(block, self._layers[place], args, kwargs)
            self._keep(self._layers[place] + 1)
        if place == len(self._blocks) - 1:
            self._join(place + 1, came)
        self._handed = self._streams[0].states if self._streams else came
        return self._answer(self._handed)

    def _join(self, place: int, came: torch.Tensor) -> None:
        """Streams that begin in front of a layer: all at the first, and what is known from before further on."""
        for prefix, plans in self._enter.get(place, {}).items():
            states = self._known.states[prefix] if self._known and prefix else came
            self._streams.append(Stream(states, plans))

    def _keep(self, depth: int) -> None:
        """Keep the states after so many layers of the full model, unless layers return more than states."""
        if self._known and self._rest is None and depth in self._known.depths:
            for stream in self._streams:
                self._known.states.setdefault(self._steps[stream.plans[0]][:depth], stream.states)

    def _through(self, block: nn.Module, layer: int, args: Any, kwargs: dict[str, Any]) -> list[Stream]:
        """All streams after one layer, each split by what its plans do there."""
        parted = [(stream, *part) for stream in self._streams for part in self._parted(stream.plans, layer)]
        whole = [stream.states for stream, step, _ in parted if step == Step()]
        stack = iter(self._stacked(block, whole, args, kwargs) if self.stacked and len(whole) > 1 else ())
        grown = []
        for stream, step, plans in parted:
            states = stream.states
            if not step.dropped:
                ready = next(stack, None) if step == Step() else None
                if ready is None:
                    with stepped(self.model, block, step):
                        ready = self._run(block, states, args, kwargs)
                self._count.layers += step.work
                states = ready
            grown.append(Stream(states, plans))
        return grown

    def _parted(self, plans: Sequence[Plan], layer: int) -> list[tuple[Step, list[Plan]]]:
        """Plans by what they do with a layer."""
        parted: dict[Step, list[Plan]] = {}
        for plan in plans:
            parted.setdefault(self._steps[plan][layer], []).append(plan)
        return list(parted.items())

    def _run(self, block: nn.Module, states: torch.Tensor, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
        """One layer applied to these states."""
        given = kwargs if args else {**kwargs, argument_names(block)[0]: states}
        output = block.forward(*([states, *args[1:]] if args else []), **given)
        self._rest = output[1:] if isinstance(output, tuple) else None
        return output[0] if isinstance(output, tuple) else output

    def _stacked(
        self, block: nn.Module, streams: list[torch.Tensor], args: Any, kwargs: dict[str, Any]
    ) -> tuple[torch.Tensor, ...]:
        """One layer applied to several streams at once; the first time arguments of these shapes are met, the last
        stream is run alone too."""
        count, rows = len(streams), len(streams[0])
        wide = [_repeated(value, count, rows) for value in args]
        named = {name: _repeated(value, count, rows) for name, value in kwargs.items()}
        try:
            found = self._run(block, torch.cat(streams), wide, named).split(rows)
        except (RuntimeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise Unfollowed from error
        shapes = tuple(getattr(value, "shape", None) for value in (*args[1:], *kwargs.values()))
        if shapes not in self._checked:
            self._checked.add(shapes)
            alone = self._run(block, streams[-1], args, kwargs)
            difference = _difference(found[-1], alone)
            if not difference <= ROUNDING * torch.finfo(alone.dtype).eps:  # so written, since it may be NaN
                raise Unfollowed
            self._count.difference = max(difference, self._count.difference or 0.0)
        return found


def _shared(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether layers write into something they share, which the streams would share too."""
    held = [*args, *kwargs.values()]
    return any(isinstance(value, MutableMapping) for value in held) or any(
        kwargs.get(name) is not None for name in CACHES
    )


def _repeated(value: Any, count: int, rows: int) -> Any:
    """An argument of a layer for `count` times as many rows: what has a row for each, or several (attention heads),
    is repeated."""
    if isinstance(value, (tuple, list)):
        return type(value)(_repeated(part, count, rows) for part in value)
    if isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] % rows == 0:
        return value.repeat(count, *[1] * (value.dim() - 1))
    return value


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two states as a share of the largest number expected; infinite for other shapes."""
    if found.shape != expected.shape:
        return float("inf")
    largest = max(float(expected.abs().max()), torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max()) / largest
