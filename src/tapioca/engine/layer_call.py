"""A model's call of one of its layers, made again for other hidden states."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache

from tapioca.engine.key_values import KeyValues
from tapioca.models.branches import CACHE_ARGUMENTS, argument_names

STACKING_TOLERANCE = 64
"""Roundings of the model's dtype, relative to the largest state, that stacking may change a layer's output by."""


class UntraceableModelError(Exception):
    """The model changes the stream between its layers, lets layers share state, or cannot take a stacked batch."""


class LayerCall:
    """A layer with the arguments the model hands it.

    Args:
        block: the layer, with its own forward.
        place: its number among the layers that run.
        cache: what stands before the batch.

    Attributes:
        states: the hidden states it was called with, (row, token, width).
        rest: what it returned behind the states; None where it returns nothing else.

    Raises:
        UntraceableModelError: layers share something they write into, which the streams would share too.
    """

    def __init__(
        self, block: nn.Module, place: int, args: Sequence[Any], kwargs: dict[str, Any], cache: Cache | None = None
    ):
        self.block, self.place, self.args, self.kwargs, self.cache = block, place, args, kwargs, cache
        self._first = argument_names(block)[0]
        self.states: torch.Tensor = args[0] if args else kwargs[self._first]
        self.rest: tuple[Any, ...] | None = None
        if any(kwargs.get(name) is not None and kwargs[name] is not cache for name in CACHE_ARGUMENTS):
            raise UntraceableModelError
        if any(isinstance(argument, MutableMapping) for argument in [*args, *kwargs.values()]):
            raise UntraceableModelError

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Of the arguments behind the states."""
        return tuple(getattr(argument, "shape", None) for argument in (*self.args[1:], *self.kwargs.values()))

    def run(self, streams: Sequence[torch.Tensor], before: KeyValues | None) -> tuple[torch.Tensor, ...]:
        """The layer applied to one stream or to several at once, each of as many rows as the model's own.

        Args:
            streams: hidden states.
            before: keys and values before them, to which the layer adds theirs; None where there is no cache.

        Raises:
            UntraceableModelError: it does not take so many rows.
        """
        if len(streams) == 1:
            return (self._run(streams[0], self.args, self.kwargs, before),)
        count, rows = len(streams), len(self.states)
        args = [_repeat_rows(argument, count, rows) for argument in self.args]
        kwargs = {name: _repeat_rows(argument, count, rows) for name, argument in self.kwargs.items()}
        try:
            return self._run(torch.cat(list(streams)), args, kwargs, before).split(rows)
        except (RuntimeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise UntraceableModelError from error

    def _run(
        self, states: torch.Tensor, args: Sequence[Any], kwargs: dict[str, Any], before: KeyValues | None
    ) -> torch.Tensor:
        call_kwargs = kwargs if args else {**kwargs, self._first: states}
        with _replace_cache_layer(self.cache, self.place, before):
            output = self.block.forward(*([states, *args[1:]] if args else []), **call_kwargs)
        self.rest = output[1:] if isinstance(output, tuple) else None
        return output[0] if isinstance(output, tuple) else output


@contextmanager
def _replace_cache_layer(cache: Cache | None, place: int, layer: KeyValues | None) -> Iterator[None]:
    """Put another layer into a cache; afterwards the cache is as long as it was."""
    if cache is None or layer is None:
        yield
        return
    original, cache.layers[place] = cache.layers[place], layer
    try:
        yield
    finally:
        cache.layers[place] = original


def measure_relative_difference(observed: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two states as a share of the largest number expected; infinite for other shapes."""
    if observed.shape != expected.shape:
        return float("inf")
    largest = max(float(expected.abs().max()), torch.finfo(expected.dtype).tiny)
    return float((observed - expected).abs().max()) / largest


def _repeat_rows(argument: Any, count: int, rows: int) -> Any:
    """An argument of a layer for `count` times as many rows: what has a row for each, or several (attention heads),
    is repeated."""
    if isinstance(argument, (tuple, list)):
        return type(argument)(_repeat_rows(part, count, rows) for part in argument)
    if isinstance(argument, torch.Tensor) and argument.dim() > 1 and argument.shape[0] % rows == 0:
        return argument.repeat(count, *[1] * (argument.dim() - 1))
    return argument
