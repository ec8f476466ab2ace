"""Which examples run together, and in which order: a matter of the task alone.

Batches depend neither on the plan nor on what was done before: the same examples are padded the same way for every
plan, so differences between plans are differences between plans.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tapioca.records import Example
from tapioca.tasks.base import Task, digest_example

LOOK = 4
"""Batches between two looks, where examples are drawn at random: sorted by length among them, they need less padding."""

EARLY = 8
"""Of the first batches one looks at each, since that is when most plans are stopped."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples that are always run together, and a digest of everything the model reads for them."""

    examples: tuple[Example, ...]
    digest: str


@dataclass(frozen=True, eq=False)
class Chunk:
    """Examples between two looks at the scores, in the order drawn, and the batches they are run in."""

    examples: tuple[Example, ...]
    batches: tuple[Batch, ...]


@lru_cache(maxsize=8)
def make_batches(task: Task, size: int, seed: int | None = None) -> list[Batch]:
    """Cut a task into batches of `size` examples of similar length; the longest come first.

    With a seed, examples are drawn at random first, and only those between two looks are sorted by length.
    """
    return [batch for chunk in make_chunks(task, size, seed) for batch in chunk.batches]


@lru_cache(maxsize=8)
def make_chunks(task: Task, size: int, seed: int | None = None) -> list[Chunk]:
    """The batches of a task, and after which of them one looks at the scores: each, or with a seed as `looks` says."""
    if seed is None:
        drawn_examples, ends = _by_length(task.examples), [*range(size, len(task.examples) + size, size)]
    else:
        order = np.random.default_rng(seed).permutation(len(task.examples))
        drawn_examples, ends = [task.examples[index] for index in order], looks(len(task.examples), size)
    return [_chunk(task, tuple(drawn_examples[start:end]), size) for start, end in pairwise((0, *ends))]


def sample_batches(task: Task, size: int, most: int) -> Task:
    """A task on at most `most` of its examples, spread evenly over all lengths.

    They are whole batches of the longest-first order, so that one answer serves the sample and the task; single examples
    where a batch would be too large.
    """
    if len(task.examples) <= most:
        return task
    ordered, unit = _by_length(task.examples), size if size <= most else 1
    starts, count = range(0, len(ordered), unit), most // unit
    chosen = [starts[(2 * index + 1) * len(starts) // (2 * count)] for index in range(count)]
    return task.select_examples(example for start in chosen for example in ordered[start : start + unit])


def looks(examples: int, size: int) -> list[int]:
    """After how many examples one looks, where they are drawn at random: after each early batch, then every fourth."""
    ends = [*range(size, EARLY * size, size), *range(EARLY * size, examples, LOOK * size)]
    return [*(end for end in ends if end < examples), examples]


def _chunk(task: Task, drawn_examples: tuple[Example, ...], size: int) -> Chunk:
    ordered = _by_length(drawn_examples)
    batched_examples = [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]
    return Chunk(drawn_examples, tuple(Batch(examples, _digest(task, examples)) for examples in batched_examples))


def _by_length(examples: Sequence[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: (-example.length, example.id))


def _digest(task: Task, examples: Sequence[Example]) -> str:
    """Names a batch by all that can change its answers: the reader, the metric and what is read, in order."""
    lines = [
        type(task).__name__,
        task.metric.model_dump_json(),
        task.cache_key,
        str(task.shared_prefix_length),
        *(["shared contexts"] if task.has_contexts(examples) else []),
        *map(digest_example, examples),
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
