"""The rows that two models are compared on: the same for both, told apart by what they say."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.tasks.base import Task
from tapioca.tasks.choice import GOLD_LOSS
from tapioca.tasks.generate import ANSWER_LOSS
from tapioca.tasks.perplexity import LOSS

Tasks = Mapping[Domain, Task]


@dataclass(frozen=True)
class MatchedTasks:
    """The rows that both models can be asked, in one order.

    Attributes:
        first, second: as A and as B reads them.
        left_out: how many of each data set one of them alone can be asked.
    """

    first: dict[Domain, Task]
    second: dict[Domain, Task]
    left_out: dict[Domain, int]

    @classmethod
    def match(cls, first: Tasks, second: Tasks) -> Self:
        """Pair the rows of two models.

        Raises:
            DataError: the two are measured differently, or share no row.
        """
        if first["ood"].metric != second["ood"].metric:
            raise DataError(
                f"{first['ood'].name}: A is measured by {first['ood'].metric.name}, B by {second['ood'].metric.name}; "
                "compare models of one kind, or say --kind"
            )
        matched = cls({}, {}, {})
        for domain, task in first.items():
            ours, theirs = _name_examples(task), _name_examples(second[domain])
            shared = [name for name in ours if name in theirs]
            if not shared:
                raise DataError(
                    f"{task.name}: none of the {len(ours)} rows that A is asked is among the {len(theirs)} that B is asked; "
                    "give data whose rows both read as they are"
                )
            matched.first[domain] = task.select_examples(ours[name] for name in shared)
            matched.second[domain] = second[domain].select_examples(theirs[name] for name in shared)
            matched.left_out[domain] = len(ours.keys() ^ theirs.keys())
        return matched

    @property
    def same_tokens(self) -> bool:
        """Whether both models read the same tokens or numbers for every row."""
        pairs = ((self.first[domain].examples, self.second[domain].examples) for domain in self.first)
        return all(_has_equal_rows(ours, theirs) for part in pairs for ours, theirs in zip(*part, strict=True))

    def refuse_token_counts(self) -> None:
        """Refuse scores per token where the two models cut texts into different tokens, since a shorter token is likelier.

        Raises:
            DataError: they are.
        """
        task = self.first["ood"]
        if not _counts_tokens(task) or self.same_tokens:
            return
        advice = {
            ANSWER_LOSS: "use --score accuracy",
            GOLD_LOSS: "use --normalize characters",
            LOSS: "use answers to be chosen or written, or loss per byte of an lm-eval task",
        }[task.metric]
        raise DataError(
            f"{task.name}: {task.metric.name} counts tokens, and A and B cut texts differently, so their numbers cannot be "
            f"held against each other; {advice}"
        )

    def describe_shots(self) -> str:
        """That the two are shown different worked examples, which are drawn by what a row is called; else empty."""
        pairs = [(self.first[domain], self.second[domain]) for domain in self.first]
        named_alike = all(
            ours.id == theirs.id
            for first, second in pairs
            for ours, theirs in zip(first.examples, second.examples, strict=True)
        )
        if named_alike or not any(first.shots for first, _ in pairs):
            return ""
        return "rows have no ids of their own, so A and B are shown different worked examples; give each row an id"


def _name_examples(task: Task) -> dict[tuple[str, int], Example]:
    """The examples by their rows, and by how many of the same row came before: copies, and windows of a text."""
    counts: Counter[str] = Counter()
    named = {}
    for example in task.examples:
        named[example.row_digest, counts[example.row_digest]] = example
        counts[example.row_digest] += 1
    return named


def _has_equal_rows(first: Example, second: Example) -> bool:
    return len(first.rows) == len(second.rows) and all(
        np.array_equal(ours.inputs, theirs.inputs) for ours, theirs in zip(first.rows, second.rows, strict=True)
    )


def _counts_tokens(task: Task) -> bool:
    """Whether scores are divided by a number of tokens."""
    if task.metric == GOLD_LOSS:
        rows = [row for example in task.examples for row in example.rows]
        return any(len(row.targets) > 1 for row in rows) and all(row.normalizer == len(row.targets) for row in rows)
    return task.metric in (ANSWER_LOSS, LOSS)
