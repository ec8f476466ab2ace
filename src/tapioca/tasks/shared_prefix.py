"""What all prompts of a task begin with: a system text, instructions, the same worked examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapioca.records import Request

MIN_TOKENS = 16
"""Fewest tokens worth being kept apart."""

MIN_SHARE = 0.25
"""Least share of all tokens worth being kept apart; standing keys and values in front of every batch costs as well."""


def measure_shared_prefix(rows: Sequence[Request], keep: Callable[[Request], int]) -> int:
    """How many tokens all rows begin with, of those before the outputs that are read; 0 where they are not worth it.

    Args:
        rows: of a whole task; rows of numbers have no opening.
        keep: how many of the last positions of a row have outputs that are read.
    """
    if len(rows) < 2 or not all(isinstance(row.inputs, tuple) for row in rows):
        return 0
    columns = zip(*(row.inputs for row in rows), strict=False)
    n_shared = next((position for position, tokens in enumerate(columns) if len(set(tokens)) > 1), len(rows[0].inputs))
    length = min(n_shared, min(len(row.inputs) - max(1, keep(row)) for row in rows))
    return length if length >= max(MIN_TOKENS, MIN_SHARE * sum(len(row.inputs) for row in rows) / len(rows)) else 0
