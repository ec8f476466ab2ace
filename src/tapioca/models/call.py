"""A model's call of one of its layers, made again for other hidden states."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import nn

from tapioca.models.branches import CACHES, argument_names
from tapioca.models.opening import Past
from tapioca.records.tree import Prefix

ROUNDING = 64
"""Roundings of the model's dtype, relative to the largest state, that stacking may change a layer's output by."""


class Unfollowed(Exception):
    """The model changes the stream between its layers, lets layers share state, or cannot take a stacked batch."""


class Call:
    """A layer with the arguments the model hands it.

    Args:
        block: the layer, with its own forward.
        place: its number among the layers that run.
        args, kwargs: what it was called with.
        past: what stands before the batch.

    Attributes:
        states: the hidden states it was called with, (row, token, width).
        rest: what it returned behind the states; None where it returns nothing else.

    Raises:
        Unfollowed: layers share something they write into, which the streams would share too.
    """

    def __init__(self, block: nn.Module, place: int, args: Sequence[Any], kwargs: dict[str, Any], past: Past | None):
        self.block, self.place, self.args, self.kwargs, self.past = block, place, args, kwargs, past
        self._first = argument_names(block)[0]
        self.states: torch.Tensor = args[0] if args else kwargs[self._first]
        self.rest: tuple[Any, ...] | None = None
        caches = [kwargs.get(name) for name in CACHES]
        if any(cache is not None and not (past and cache is past.cache) for cache in caches):
            raise Unfollowed
        if any(isinstance(value, MutableMapping) for value in [*args, *kwargs.values()]):
            raise Unfollowed

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Of the arguments behind the states."""
        return tuple(getattr(value, "shape", None) for value in (*self.args[1:], *self.kwargs.values()))

    def run(self, states: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        """The layer applied to states that came this way."""
        return self._run(states, [prefix], self.args, self.kwargs)

    def stacked(self, streams: Sequence[torch.Tensor], prefixes: Sequence[Prefix]) -> tuple[torch.Tensor, ...]:
        """The layer applied to several streams at once, each of as many rows as the model's own.

        Raises:
            Unfollowed: the layer does not take so many rows.
        """
        count, rows = len(streams), len(self.states)
        args = [_repeated(value, count, rows) for value in self.args]
        kwargs = {name: _repeated(value, count, rows) for name, value in self.kwargs.items()}
        try:
            return self._run(torch.cat(list(streams)), prefixes, args, kwargs).split(rows)
        except (RuntimeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise Unfollowed from error

    def _run(
        self, states: torch.Tensor, prefixes: Sequence[Prefix], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> torch.Tensor:
        if self.past:
            self.past.face(self.place, prefixes, len(self.states))
        given = kwargs if args else {**kwargs, self._first: states}
        output = self.block.forward(*([states, *args[1:]] if args else []), **given)
        if self.past:
            self.past.leave(self.place, prefixes)
        self.rest = output[1:] if isinstance(output, tuple) else None
        return output[0] if isinstance(output, tuple) else output


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two states as a share of the largest number expected; infinite for other shapes."""
    if found.shape != expected.shape:
        return float("inf")
    largest = max(float(expected.abs().max()), torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max()) / largest


def _repeated(value: Any, count: int, rows: int) -> Any:
    """An argument of a layer for `count` times as many rows: what has a row for each, or several (attention heads),
    is repeated."""
    if isinstance(value, (tuple, list)):
        return type(value)(_repeated(part, count, rows) for part in value)
    if isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] % rows == 0:
        return value.repeat(count, *[1] * (value.dim() - 1))
    return value
