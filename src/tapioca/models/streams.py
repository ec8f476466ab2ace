"""The streams of one batch on their way through the layers of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.models.branches import replaced_forward
from tapioca.models.call import ROUNDING, Call, Unfollowed, relative_difference
from tapioca.models.edit import stepped
from tapioca.models.feed import Feed, Means
from tapioca.models.find import find_layers
from tapioca.models.inputs import forward
from tapioca.models.opening import Past
from tapioca.records import Plan
from tapioca.records.tree import Prefix, Step, common_drops, steps


@dataclass
class Stream:
    """Hidden states (batch, token, width), and the plans they are the states of."""

    states: torch.Tensor
    plans: list[Plan]


class Streams:
    """One batch under many plans.

    Args:
        model: under what all plans drop.
        plans: distinct, in the order of their tree.
        feed: what goes through the layers.
        means: how.
    """

    def __init__(self, model: PreTrainedModel, plans: list[Plan], feed: Feed, means: Means):
        self.model, self.plans, self.feed = model, plans, feed
        self._stack, self._known, self._count, self._read = means.stacked, means.known, means.count, means.read
        self._steps = {plan: steps(plan) for plan in plans}
        self._layers = common_drops(plans).kept
        self._blocks = list(find_layers(model).blocks)
        self._past = Past(feed.opening, len(self._blocks), feed.taking) if feed.opening else None
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
                self._outputs = self._forward()
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
                    outputs = self._forward()
            for plan in stream.plans:
                yield plan, outputs
            outputs = None

    def _forward(self) -> torch.Tensor:
        """The model's own forward, behind what stands before the batch."""
        past = {"past_key_values": self._past.cache} if self._past else {}
        return forward(self.model, {**self.feed.batch, **past}, self.feed.keep)  # type: ignore[dict-item]

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
        call = Call(self._blocks[place], place, args, kwargs, self._past)
        if place and call.states is not self._handed:
            raise Unfollowed
        self._join(place, call.states)
        if self._streams:
            with replaced_forward(call.block, own):
                self._streams = self._through(call, self._layers[place])
            self._rest = self._rest if call.rest is None else call.rest
            self._keep(self._layers[place] + 1)
        if place == len(self._blocks) - 1:
            self._join(place + 1, call.states)
        self._handed = self._streams[0].states if self._streams else call.states
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

    def _through(self, call: Call, layer: int) -> list[Stream]:
        """All streams after one layer, each split by what its plans do there."""
        parted = [(stream, *part) for stream in self._streams for part in self._parted(stream.plans, layer)]
        whole = [(stream.states, self._steps[plans[0]][:layer]) for stream, step, plans in parted if step == Step()]
        stack = iter(self._stacked(call, whole) if self._stack and len(whole) > 1 else ())
        grown = []
        for stream, step, plans in parted:
            states = stream.states
            if not step.dropped:
                ready = next(stack, None) if step == Step() else None
                if ready is None:
                    with stepped(self.model, call.block, step):
                        ready = call.run(states, self._steps[plans[0]][:layer])
                self._count.add(states.shape[0], states.shape[1], step.work)
                states = ready
                if self._read:
                    self._read(layer, states, plans)
            grown.append(Stream(states, plans))
        return grown

    def _stacked(self, call: Call, streams: list[tuple[torch.Tensor, Prefix]]) -> tuple[torch.Tensor, ...]:
        """Streams after one layer, at once; the first time arguments of these shapes are met, the last runs alone too."""
        states, prefixes = zip(*streams, strict=True)
        found = call.stacked(states, prefixes)
        if call.shapes not in self._checked:
            self._checked.add(call.shapes)
            alone = call.run(states[-1], prefixes[-1])
            difference = relative_difference(found[-1], alone)
            if not difference <= ROUNDING * torch.finfo(alone.dtype).eps:  # so written, since it may be NaN
                raise Unfollowed
            self._count.difference = max(difference, self._count.difference or 0.0)
        return found

    def _parted(self, plans: Sequence[Plan], layer: int) -> list[tuple[Step, list[Plan]]]:
        """Plans by what they do with a layer."""
        parted: dict[Step, list[Plan]] = {}
        for plan in plans:
            parted.setdefault(self._steps[plan][layer], []).append(plan)
        return list(parted.items())
