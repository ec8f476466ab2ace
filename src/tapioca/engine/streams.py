"""The streams of one batch on their way through the layers of a model."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.engine.layer_call import STACKING_TOLERANCE, LayerCall, UntraceableModelError, measure_relative_difference
from tapioca.engine.options import SweepInput, SweepOptions
from tapioca.engine.shared_prefix import PrefixCache
from tapioca.models.branches import replace_forward
from tapioca.models.edit import apply_step
from tapioca.models.find import find_layers
from tapioca.models.inputs import run_forward
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import Prefix, Step, intersect_drops, list_steps
from tapioca.records import ComputeCost

MAX_OUTPUT_BYTES = 2**28
"""Most bytes of outputs of streams that are finished at once."""


@dataclass
class Stream:
    """Hidden states (batch, token, width), and the plans they are the states of."""

    states: torch.Tensor
    plans: list[Plan]


class Streams:
    """One batch under many distinct plans, in the order of their tree; the model is under what all of them drop."""

    def __init__(self, model: PreTrainedModel, plans: list[Plan], sweep_input: SweepInput, options: SweepOptions):
        self.model, self.plans, self.sweep_input, self.options = model, plans, sweep_input, options
        self._known = options.batch_states
        self._steps = {plan: list_steps(plan) for plan in plans}
        self._layers = intersect_drops(plans).kept
        self._blocks = list(find_layers(model).blocks)
        self._past = (
            PrefixCache(sweep_input.shared_prefix, len(self._blocks), sweep_input.prefilling)
            if sweep_input.shared_prefix
            else None
        )
        self._enter = self._group_entries()
        self._streams: list[Stream] = []
        self._handed: torch.Tensor | None = None
        self._rest: tuple[Any, ...] | None = None
        self._outputs: torch.Tensor | None = None
        self._checked: set[tuple[Any, ...]] = set()
        self._difference: float | None = None

    def run_layers(self) -> bool:
        """Take all streams through all layers; False where the model does not let itself be followed."""
        try:
            with ExitStack() as stack:
                for place, block in enumerate(self._blocks):
                    stack.enter_context(replace_forward(block, partial(self._advance, place, block.forward)))
                self._outputs = self._forward()
            self.options.cost.add(ComputeCost(difference=self._difference))
        except UntraceableModelError:
            self._streams.clear()
            if self._known:
                self._known.states.clear()
            return False
        return True

    def finish_streams(self) -> Iterator[tuple[Plan, torch.Tensor]]:
        """The outputs of every stream; the first has them from `run_layers`."""
        outputs, self._outputs = self._outputs, None
        assert outputs is not None
        rows, max_streams = len(outputs), max(1, MAX_OUTPUT_BYTES // outputs.nbytes) if self.options.stacked else 1
        for plan in self._streams.pop(0).plans:
            yield plan, outputs
        while self._streams:
            stream_group = [self._streams.pop(0) for _ in range(min(max_streams, len(self._streams)))]
            with self._return_states(torch.cat([stream.states for stream in stream_group])):
                group_outputs = self._forward(len(stream_group)).split(rows)
            for stream, outputs in zip(stream_group, group_outputs, strict=True):
                for plan in stream.plans:
                    yield plan, outputs

    def _forward(self, n_streams: int = 1) -> torch.Tensor:
        """The model's own forward on a batch for so many streams, behind what stands before the batch."""
        batch = {name: torch.cat([tensor] * n_streams) for name, tensor in self.sweep_input.batch.items()}
        past = {"past_key_values": self._past.cache} if self._past else {}
        return run_forward(self.model, {**batch, **past}, self.sweep_input.logits_to_keep)  # type: ignore[dict-item]

    def _group_entries(self) -> dict[int, dict[Prefix, list[Plan]]]:
        """The plans by the place at which they enter the pass: in front of the first layer that is not known for them."""
        entries: dict[int, dict[Prefix, list[Plan]]] = {}
        for plan in self.plans:
            depth = self._known.find_deepest(self._steps[plan]) if self._known else 0
            place = sum(layer < depth for layer in self._layers)
            entries.setdefault(place, {}).setdefault(self._steps[plan][:depth], []).append(plan)
        return entries

    @contextmanager
    def _return_states(self, states: torch.Tensor) -> Iterator[None]:
        """Every layer returns these states."""
        with ExitStack() as stack:
            for block in self._blocks:
                stack.enter_context(replace_forward(block, lambda *_, **__: self._as_layer_output(states)))
            yield

    def _as_layer_output(self, states: torch.Tensor) -> Any:
        """Hidden states as a layer of this model returns them."""
        return states if self._rest is None else (states, *self._rest)

    def _advance(self, place: int, layer_forward: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer's forward: take every stream through the layer."""
        call = LayerCall(self._blocks[place], place, args, kwargs, self._past)
        if place and call.states is not self._handed:
            raise UntraceableModelError
        self._enter_streams(place, call.states)
        if self._streams:
            with replace_forward(call.block, layer_forward):
                self._streams = self._run_layer(call, self._layers[place])
            self._rest = self._rest if call.rest is None else call.rest
            self._store_states(self._layers[place] + 1)
        if place == len(self._blocks) - 1:
            self._enter_streams(place + 1, call.states)
        self._handed = self._streams[0].states if self._streams else call.states
        return self._as_layer_output(self._handed)

    def _enter_streams(self, place: int, input_states: torch.Tensor) -> None:
        """Streams that begin in front of a layer: all at the first, and what is known from before further on."""
        for prefix, plans in self._enter.get(place, {}).items():
            states = self._known.states[prefix] if self._known and prefix else input_states
            self._streams.append(Stream(states, plans))

    def _store_states(self, depth: int) -> None:
        """Keep the states after so many layers of the full model, unless layers return more than states."""
        if self._known and self._rest is None and depth in self._known.depths:
            for stream in self._streams:
                self._known.states.setdefault(self._steps[stream.plans[0]][:depth], stream.states)

    def _run_layer(self, call: LayerCall, layer: int) -> list[Stream]:
        """All streams after one layer, each split by what its plans do there."""
        split_streams = [
            (stream, step, list(plans))
            for stream in self._streams
            for step, plans in groupby(stream.plans, key=lambda plan: self._steps[plan][layer])
        ]
        full_streams = [
            (stream.states, self._steps[plans[0]][:layer]) for stream, step, plans in split_streams if step == Step()
        ]
        stacked_states = iter(
            self._run_stacked(call, full_streams) if self.options.stacked and len(full_streams) > 1 else ()
        )
        next_streams = []
        for stream, step, plans in split_streams:
            states = stream.states
            if not step.dropped:
                output_states = next(stacked_states, None) if step == Step() else None
                if output_states is None:
                    with apply_step(self.model, call.block, step):
                        output_states = call.run(states, self._steps[plans[0]][:layer])
                layers = step.work * states.shape[0]
                self.options.cost.add(ComputeCost(layers=layers, tokens=layers * states.shape[1]))
                states = output_states
                if self.options.on_states:
                    self.options.on_states(self._steps[plans[0]][: layer + 1], states)
            next_streams.append(Stream(states, plans))
        return next_streams

    def _run_stacked(self, call: LayerCall, streams: list[tuple[torch.Tensor, Prefix]]) -> tuple[torch.Tensor, ...]:
        """Streams after one layer, at once; the first time arguments of these shapes are met, the last runs alone too."""
        states, prefixes = zip(*streams, strict=True)
        outputs = call.run_stacked(states, prefixes)
        if call.shapes not in self._checked:
            self._checked.add(call.shapes)
            single_output = call.run(states[-1], prefixes[-1])
            difference = measure_relative_difference(outputs[-1], single_output)
            tolerance = STACKING_TOLERANCE * torch.finfo(single_output.dtype).eps
            if not difference <= tolerance:  # so written, since it may be NaN
                raise UntraceableModelError
            self._difference = max(difference, self._difference or 0.0)
        return outputs
