"""The streams of one batch on their way through the layers of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from tapioca.records import Plan
from tapioca.records.tree import Step, steps

ROUNDING = 64
"""Roundings of the model's dtype, relative to the largest state, that stacking may change a layer's output by."""


@dataclass
class Stream:
    """Hidden states (batch, token, width), and the plans they are the states of."""

    states: torch.Tensor
    plans: list[Plan]


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
    """

    def __init__(
        self, model: PreTrainedModel, plans: list[Plan], batch: dict[str, torch.Tensor], keep: int, stacked: bool
    ):
        self.model, self.plans, self.batch, self.keep, self.stacked = model, plans, batch, keep, stacked
        said = {plan: steps(plan) for plan in plans}
        common = set.intersection(*(set(plan.drops) for plan in plans))
        layers = [layer for layer in range(plans[0].n_layers) if layer not in common]
        self._steps = [{plan: said[plan][layer] for plan in plans} for layer in layers]
        self._blocks = list(find_layers(model).blocks)
        self._streams: list[Stream] = []
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
        if place == 0:
            self._streams = [Stream(came, self.plans)]
        elif came is not self._streams[0].states or _shared(args, kwargs):
            raise Unfollowed
        with replaced_forward(block, own):
            self._streams = self._through(block, self._steps[place], args, kwargs)
        return self._answer(self._streams[0].states)

    def _through(self, block: nn.Module, said: dict[Plan, Step], args: Any, kwargs: dict[str, Any]) -> list[Stream]:
        """All streams after one layer, each split by what its plans do there."""
        parted = [(stream, *part) for stream in self._streams for part in _parted(stream.plans, said)]
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
                states = ready
            grown.append(Stream(states, plans))
        return grown

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
            if not _close(found[-1], alone):
                raise Unfollowed
        return found


def _parted(plans: Sequence[Plan], said: dict[Plan, Step]) -> list[tuple[Step, list[Plan]]]:
    """Plans by what they do with a layer."""
    parted: dict[Step, list[Plan]] = {}
    for plan in plans:
        parted.setdefault(said[plan], []).append(plan)
    return list(parted.items())


def _shared(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether layers write into something they share, which the streams would share too."""
    held = [*args, *kwargs.values()]
    return any(isinstance(value, dict) for value in held) or any(kwargs.get(name) is not None for name in CACHES)


def _repeated(value: Any, count: int, rows: int) -> Any:
    """An argument of a layer for `count` times as many rows: what has a row for each, or several (attention heads),
    is repeated."""
    if isinstance(value, (tuple, list)):
        return type(value)(_repeated(part, count, rows) for part in value)
    if isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] % rows == 0:
        return value.repeat(count, *[1] * (value.dim() - 1))
    return value


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two states differ by rounding alone."""
    allowed = ROUNDING * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    return found.shape == expected.shape and bool((found - expected).abs().max() <= allowed)
