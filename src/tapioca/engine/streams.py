"""The streams of one batch on their way through the layers of a model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from transformers import PreTrainedModel

from tapioca.engine.batch_call import BatchCall, Part, States, list_parts
from tapioca.engine.layer_call import STACKING_TOLERANCE, LayerCall, UntraceableModelError, measure_relative_difference
from tapioca.engine.options import SweepInput, SweepOptions
from tapioca.models.branches import replace_forward
from tapioca.models.edit import apply_step
from tapioca.models.find import find_layers
from tapioca.models.inputs import run_forward
from tapioca.plan import Plan
from tapioca.plan.prefix_tree import LayerInput, Prefix, Step, describe_layer_input, intersect_drops, list_steps
from tapioca.records import ComputeCost

MAX_OUTPUT_BYTES = 2**28
"""Most bytes of outputs of streams that are finished at once."""


@dataclass
class Stream:
    """Hidden states, and the plans they are the states of."""

    states: States
    plans: list[Plan]


class Streams:
    """One batch under many distinct plans, in the order of their tree; the model is under what all of them drop."""

    def __init__(self, model: PreTrainedModel, plans: list[Plan], sweep_input: SweepInput, options: SweepOptions):
        self.model, self.plans, self.sweep_input, self.options = model, plans, sweep_input, options
        self._known = options.batch_states
        self._steps = {plan: list_steps(plan) for plan in plans}
        self._layers = intersect_drops(plans).kept
        self._blocks = list(find_layers(model).blocks)
        self._parts = list_parts(sweep_input, len(self._blocks))
        self._following_calls: list[list[LayerCall]] = []
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
            self._following_calls = [self._record_calls(part) for part in self._parts[1:]]
            with self._replace_blocks(self._advance):
                self._outputs = self._forward(self._parts[0])
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
        max_streams = max(1, MAX_OUTPUT_BYTES // outputs.nbytes) if self.options.stacked else 1
        stream_group = [self._streams.pop(0)]
        outputs_by_part: list[tuple[torch.Tensor, ...]] = [(outputs,)]
        while stream_group:
            for number in range(len(outputs_by_part), len(self._parts)):
                outputs_by_part.append(self._finish_part(number, stream_group))
            for stream, *parts in zip(stream_group, *outputs_by_part, strict=True):
                outputs = self.sweep_input.gather(parts)
                for plan in stream.plans:
                    yield plan, outputs
            stream_group = [self._streams.pop(0) for _ in range(min(max_streams, len(self._streams)))]
            outputs_by_part = []

    def _finish_part(self, number: int, stream_group: list[Stream]) -> tuple[torch.Tensor, ...]:
        """The outputs of one part of a batch, for some streams at the end of the layers."""
        states = torch.cat([stream.states[number] for stream in stream_group])
        with self._replace_blocks(lambda *_, **__: self._as_layer_output(states)):
            outputs = self._forward(self._parts[number], len(stream_group))
        return outputs.split(len(states) // len(stream_group))

    def _forward(self, part: Part, n_streams: int = 1) -> torch.Tensor:
        """The model's own forward on a part for so many streams, behind what stands before it."""
        batch = {name: torch.cat([tensor] * n_streams) for name, tensor in part.batch.items()}
        past = {"past_key_values": part.cache} if part.cache else {}
        return run_forward(self.model, {**batch, **past}, part.logits_to_keep)  # type: ignore[dict-item]

    def _record_calls(self, part: Part) -> list[LayerCall]:
        """How the model calls each of its layers for a part; none is computed."""
        for rest in ((), (None,)):  # layers return their states alone, or in front of something else
            calls: list[LayerCall] = []
            try:
                with self._replace_blocks(partial(self._record, part, calls, rest)):
                    self._forward(part)
                return calls
            except UntraceableModelError:
                continue
        raise UntraceableModelError

    def _record(
        self, part: Part, calls: list[LayerCall], rest: tuple[Any, ...], place: int, *call: Any, **kwargs: Any
    ) -> Any:
        """In place of a layer's forward: return what it was given."""
        calls.append(LayerCall(self._blocks[place], place, call[1:], kwargs, part.cache))
        states = calls[-1].states
        if place and states is not calls[-2].states:
            raise UntraceableModelError
        return (states, *rest) if rest else states

    @contextmanager
    def _replace_blocks(self, forward: Callable[..., Any]) -> Iterator[None]:
        """Give every layer another forward, which is told the layer's place and its own forward."""
        with ExitStack() as stack:
            for place, block in enumerate(self._blocks):
                stack.enter_context(replace_forward(block, partial(forward, place, block.forward)))
            yield

    def _group_entries(self) -> dict[int, dict[Prefix, list[Plan]]]:
        """The plans by the place at which they enter the pass: in front of the first layer that is not known for them."""
        entries: dict[int, dict[Prefix, list[Plan]]] = {}
        for plan in self.plans:
            depth = self._known.find_deepest(self._steps[plan]) if self._known else 0
            place = sum(layer < depth for layer in self._layers)
            entries.setdefault(place, {}).setdefault(self._steps[plan][:depth], []).append(plan)
        return entries

    def _as_layer_output(self, states: torch.Tensor) -> Any:
        """Hidden states as a layer of this model returns them."""
        return states if self._rest is None else (states, *self._rest)

    def _advance(self, place: int, layer_forward: Any, *args: Any, **kwargs: Any) -> Any:
        """In place of a layer's forward: take every stream through the layer."""
        call = LayerCall(self._blocks[place], place, args, kwargs, self._parts[0].cache)
        if place and call.states is not self._handed:
            raise UntraceableModelError
        calls = [call, *(calls[place] for calls in self._following_calls)]
        input_states = tuple(each.states for each in calls)
        self._enter_streams(place, input_states)
        if self._streams:
            with replace_forward(call.block, layer_forward):
                self._streams = self._run_layer(BatchCall(calls, self._parts, self.sweep_input), self._layers[place])
            self._rest = self._rest if call.rest is None else call.rest
            self._store_states(self._layers[place] + 1)
        if place == len(self._blocks) - 1:
            self._enter_streams(place + 1, input_states)
        self._handed = self._streams[0].states[0] if self._streams else call.states
        return self._as_layer_output(self._handed)

    def _enter_streams(self, place: int, input_states: States) -> None:
        """Streams that begin in front of a layer: all at the first, and what is known from before further on."""
        for prefix, plans in self._enter.get(place, {}).items():
            states = self._known.states[prefix] if self._known and prefix else input_states
            self._streams.append(Stream(states, plans))

    def _store_states(self, depth: int) -> None:
        """Keep the states after so many layers of the full model, unless layers return more than states."""
        if self._known and self._rest is None and depth in self._known.depths:
            for stream in self._streams:
                self._known.states.setdefault(self._steps[stream.plans[0]][:depth], stream.states)

    def _run_layer(self, call: BatchCall, layer: int) -> list[Stream]:
        """All streams after one layer, each split by what its plans do there."""
        split_streams = [
            (stream, step, list(plans))
            for stream in self._streams
            for step, plans in groupby(stream.plans, key=lambda plan: self._steps[plan][layer])
        ]
        full_streams = [
            (stream.states, describe_layer_input(self._steps[plans[0]], layer))
            for stream, step, plans in split_streams
            if step == Step()
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
                        output_states = call.run([states], [describe_layer_input(self._steps[plans[0]], layer)])[0]
                self.options.cost.add(_count_layer(step, states))
                states = output_states
                if self.options.on_states:
                    self.options.on_states(self._steps[plans[0]][: layer + 1], states[0])
            next_streams.append(Stream(states, plans))
        return next_streams

    def _run_stacked(self, call: BatchCall, streams: list[tuple[States, LayerInput]]) -> list[States]:
        """Streams after one layer, at once; the first time arguments of these shapes are met, the last runs alone too."""
        states, layer_inputs = zip(*streams, strict=True)
        outputs = call.run(states, layer_inputs)
        if call.shapes not in self._checked:
            self._checked.add(call.shapes)
            single_output = call.run(states[-1:], layer_inputs[-1:])[0]
            differences = [measure_relative_difference(*pair) for pair in zip(outputs[-1], single_output, strict=True)]
            tolerance = STACKING_TOLERANCE * torch.finfo(single_output[0].dtype).eps
            if not all(difference <= tolerance for difference in differences):  # so written, since it may be NaN
                raise UntraceableModelError
            self._difference = max(*differences, self._difference or 0.0)
        return outputs


def _count_layer(step: Step, states: States) -> ComputeCost:
    """One layer computed for one stream."""
    layers = sum(step.work * part.shape[0] for part in states)
    return ComputeCost(layers=layers, tokens=sum(step.work * part.shape[0] * part.shape[1] for part in states))
