"""What every task is: examples, a metric, and two steps from the model's outputs to a score."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import digits
from typing import Any, ClassVar, Self

import numpy as np
import torch

from tapioca.errors import DataError, RowError, UsageError
from tapioca.records import Example, ExampleScore, Metric, Request, TextPair
from tapioca.stats import Pairing
from tapioca.tasks.rows.source import Source

MIN_TOKENS = 16
"""Fewest tokens that all prompts begin with worth being kept apart."""

MIN_SHARE = 0.25
"""Least share of all tokens worth being kept apart; standing keys and values in front of every batch costs as well."""


class Shots(ABC):
    """Worked examples before the prompts of a task, chosen once it is known which rows are held out."""

    @property
    @abstractmethod
    def per_prompt(self) -> tuple[int, ...]:
        """How many there are in a prompt; several numbers where that differs between prompts."""

    @abstractmethod
    def deal(self, task: Task, search: Task, held_out: Sequence[Task], seed: int) -> Task:
        """The task with worked examples in its prompts; ids, groups and contents stay those of the questions alone.

        Args:
            task: the whole data set; examples may leave it to be shown.
            search: the data the search may see, of which examples may be shown.
            held_out: the data nothing of which may be shown.
            seed: of what is chosen.
        """


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """A set of examples of one kind.

    Attributes:
        name: where the examples came from, as the user wrote it.
        examples: the questions.
        metric: what a score means.
        notes: what was guessed, one line each, to be said aloud.
        shared_prefix_length: number of tokens that all rows begin with, worth being read once for all of them; else 0. Found when
            the task is made, and kept by parts of it.
        shares_contexts: whether what the rows of an example begin with may be read once for all of them.
        skipped: how many rows of the file were left out, by reason.
        available: examples of the whole data set, of which a limit or a split may have taken some; where only a part of a
            file was read, as many as that part suggests.
        shots: chooses worked examples for the prompts, where there are to be some.
        labels: what all rows of a file choose from; none where each has choices of its own.
        labels_read: whether they are the values of a column of the file; the data sets of a run must share them.
    """

    name: str
    examples: tuple[Example, ...]
    metric: Metric
    notes: tuple[str, ...] = ()
    shared_prefix_length: int = -1
    shares_contexts: bool = True
    skipped: Mapping[str, int] = field(default_factory=dict)
    available: int = -1
    shots: Shots | None = None
    labels: tuple[str, ...] = ()
    labels_read: bool = False

    is_sequence_classifier: ClassVar[bool] = False
    """Whether the outputs read are those of a classification head, one set for a whole text."""

    def __post_init__(self) -> None:
        if self.available < 0:
            object.__setattr__(self, "available", len(self.examples))
        if self.shared_prefix_length < 0:
            object.__setattr__(self, "shared_prefix_length", self._measure_shared_prefix())

    def _measure_shared_prefix(self) -> int:
        """How many tokens all rows begin with (a system text, instructions, the same worked examples), of those before the
        outputs that are read; 0 where rows are of numbers, or it is not worth it."""
        rows = [row for example in self.examples for row in example.rows]
        if self.is_sequence_classifier or len(rows) < 2 or not all(isinstance(row.inputs, tuple) for row in rows):
            return 0
        columns = zip(*(row.inputs for row in rows), strict=False)
        ends = (position for position, tokens in enumerate(columns) if len(set(tokens)) > 1)
        n_unread = min(len(row.inputs) - max(1, self.logits_to_keep([row])) for row in rows)
        length = min(next(ends, len(rows[0].inputs)), n_unread)
        return length if length >= max(MIN_TOKENS, MIN_SHARE * sum(len(row.inputs) for row in rows) / len(rows)) else 0

    def has_contexts(self, examples: Iterable[Example]) -> bool:
        """Whether some of these examples have several rows, of tokens, that may be read behind what they begin with."""
        several = (example.rows for example in examples if len(example.rows) > 1)
        return self.shares_contexts and any(isinstance(rows[0].inputs, tuple) for rows in several)

    def logits_to_keep(self, rows: Sequence[Request]) -> int:
        """How many of the last positions of a left-padded batch have outputs the task reads: by default, as targets."""
        return max(len(row.targets) for row in rows)

    @abstractmethod
    def extract(self, logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
        """Take from the outputs what the task needs.

        Args:
            logits: (row, kept position, output), float32; the last position is the row's last token.
            rows: the rows of the batch.

        Returns:
            One float64 array per row.
        """

    @abstractmethod
    def score(self, example: Example, readings: Sequence[np.ndarray]) -> ExampleScore:
        """Score one example from the readings of its rows; last among them, where the model writes, the ids it wrote."""

    @property
    def has_gradients(self) -> bool:
        """Whether `gold_log_likelihoods` can be had."""
        return type(self).gold_log_likelihoods is not Task.gold_log_likelihoods

    def gold_log_likelihoods(self, logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
        """Log-likelihood of each example's gold answer, as its score has it, with gradients; of numbers minus their error.

        Args:
            logits: outputs for all rows of the examples, as `extract` takes them.

        Returns:
            (example,)

        Raises:
            UsageError: no such number follows from the outputs.
        """
        raise UsageError(f"{self.name}: no log-likelihood with gradients follows from its answers; choose another task")

    @property
    def max_new_tokens(self) -> int:
        """Most tokens the model writes after the prompt of an example; 0 where it writes nothing."""
        return 0

    @property
    def companion(self) -> Task | None:
        """The same questions marked by what is meant, where the score only stands in for it."""
        return None

    def is_finished(self, ids: Sequence[int]) -> bool:
        """Whether a text needs no more tokens after these."""
        return False

    @property
    def cache_key(self) -> str:
        """What else changes an answer, besides the examples and the metric."""
        return ""

    def select_examples(self, examples: Iterable[Example]) -> Self:
        """The same task on some of its examples."""
        return replace(self, examples=tuple(examples))

    @property
    def weights(self) -> np.ndarray:
        """Share of each example in averages, float64 of shape (example,)."""
        return np.array([example.weight for example in self.examples])

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each example."""
        return tuple(example.group for example in self.examples)

    def pairing(self, seed: int) -> Pairing:
        """How scores of these examples are compared and resampled."""
        return Pairing(self.weights, self.groups, self.metric, seed)

    @property
    def label_counts(self) -> dict[str, int]:
        """How often each right answer stands in the data, by name, or by "choice" and its index; empty where it is neither."""
        counts = Counter(example.label for example in self.examples if example.label)
        names = sorted(counts, key=lambda name: (name.rstrip(digits), len(name), name))
        return {name: counts[name] for name in names}

    @property
    def chance(self) -> np.ndarray | None:
        """Probability of guessing each example, shape (example,); None where that means nothing."""
        levels = [example.chance for example in self.examples]
        return None if None in levels else np.array(levels, dtype=np.float64)

    @property
    def baseline_score(self) -> float | None:
        """Score of the best answer that ignores the input; None where there is none."""
        return None

    @property
    def digest(self) -> str:
        """Names the examples: what is read, what is right, and the groups."""
        parts = [f"{example.group} {example.weight} {digest_example(example)}" for example in self.examples]
        lines = [self.metric.model_dump_json(), self.cache_key, *parts]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def digest_example(example: Example) -> str:
    """Names an example by its id, what the model reads for it, and what is right."""
    inputs_digest = digest_rows((*example.rows, Request(inputs=example.prompt, targets=())))
    also = f" also {example.also}" if example.also else ""
    texts = f" also {example.also_answers}" if example.also_answers else ""
    return f"{example.id} {example.gold} {example.answer} {inputs_digest}{also}{texts}"


def digest_rows(rows: Sequence[Request]) -> str:
    """Names what a model reads for some rows, and what it is compared with."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.asarray(row.inputs).tobytes())
        digest.update(repr((np.shape(row.inputs), row.targets, row.normalizer)).encode())
        if isinstance(row.inputs, TextPair):
            digest.update(np.asarray(row.inputs.segments).tobytes())
    return digest.hexdigest()[:16]


def read_field(fields: Mapping[str, Any], name: str, default: str) -> str:
    """A field as text, or something else where it is missing or empty; a RowError where it is a list or an object."""
    field_value = fields.get(name)
    if isinstance(field_value, (list, dict)):
        raise RowError(
            f"field '{name}' must be a text or a number, got {field_value!r:.60}", f"with a list as '{name}'"
        )
    return default if field_value is None or field_value == "" else str(field_value)


def make_ids_unique(examples_and_rows: Iterable[tuple[Example, Source]]) -> tuple[list[Example], int]:
    """Give rows without an id that say the same ids of their own (CONTENT#2, ...), for each window of a long text.

    Returns:
        The examples, and how many rows say the same as an earlier one.
    """
    count_by_content: Counter[str] = Counter()
    unique_examples, copies = [], set()
    for example, row in examples_and_rows:
        if row.fields.get("id") in (None, ""):
            count_by_content[example.id] += 1
            if count_by_content[example.id] > 1:
                example = replace(example, id=f"{example.id}#{count_by_content[example.id]}")
                copies.add(row.where)
        unique_examples.append(example)
    return unique_examples, len(copies)


def check_unique(name: str, examples: Sequence[Example]) -> None:
    """Refuse with a DataError an empty data set and one in which two examples share an id."""
    if not examples:
        raise DataError(f"{name} has no examples; expected at least one row")
    seen_ids: set[str] = set()
    for example in examples:
        if example.id in seen_ids:
            raise DataError(
                f"{name}: id '{example.id}' stands twice; ids must be unique, and rows without an id must differ"
            )
        seen_ids.add(example.id)


def compute_log_likelihoods(logits: torch.Tensor, rows: Sequence[Request]) -> list[torch.Tensor]:
    """Log-probability of each row's target tokens, predicted by its last len(targets) positions."""
    token_log_likelihoods = []
    for row_logits, row in zip(logits, rows, strict=True):
        targets = torch.tensor(row.targets, dtype=torch.long, device=logits.device)
        target_logits = row_logits[-len(targets) :]
        token_log_likelihoods.append(target_logits.gather(1, targets[:, None])[:, 0] - target_logits.logsumexp(1))
    return token_log_likelihoods


def mean_row_log_likelihoods(logits: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """The mean log-likelihood of the target tokens of each example's one row, (example,), with gradients."""
    rows = [example.rows[0] for example in examples]
    return torch.stack([tokens.mean() for tokens in compute_log_likelihoods(logits, rows)])


def mean_log_likelihoods(logits: torch.Tensor, rows: Sequence[Request]) -> list[np.ndarray]:
    """The mean of the same over each row's tokens, float64 of shape (1,)."""
    return [np.array([float(tokens.cpu().double().mean())]) for tokens in compute_log_likelihoods(logits, rows)]
