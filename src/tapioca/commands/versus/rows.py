"""The rows that two models are compared on: the same for both, told apart by what they say."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapioca.errors import DataError
from tapioca.records import Example, Request
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
    def pairs(self) -> list[tuple[Example, Example]]:
        """Every row as A and as B reads it."""
        return [
            pair
            for domain, task in self.first.items()
            for pair in zip(task.examples, self.second[domain].examples, strict=True)
        ]

    @property
    def same_tokens(self) -> bool:
        """Whether both models read the same tokens or numbers for every row."""
        return all(
            _are_alike(*pair, lambda ours, theirs: np.array_equal(ours.inputs, theirs.inputs)) for pair in self.pairs
        )

    def refuse_token_counts(self) -> None:
        """Refuse scores per token where the two models cut an answer into different numbers of them, since a shorter token
        is likelier.

        Raises:
            DataError: they are.
        """
        task = self.first["ood"]
        if not _counts_tokens(task) or all(
            _are_alike(*pair, lambda ours, theirs: len(ours.targets) == len(theirs.targets)) for pair in self.pairs
        ):
            return
        advice = {
            ANSWER_LOSS: "judge by right answers, without score likelihood",
            GOLD_LOSS: "use --normalize characters",
            LOSS: "use answers to be chosen or written, or loss per byte of an lm-eval task",
        }[task.metric]
        raise DataError(
            f"{task.name}: {task.metric.name} counts tokens, and A and B cut texts into different numbers of them, so the two "
            f"cannot be held against each other; {advice}"
        )

    def describe_shots(self) -> str:
        """That the two are shown different worked examples, which are drawn by what a row is called; else empty."""
        has_shots = any(task.shots for task in self.first.values())
        if not has_shots or all(ours.id == theirs.id for ours, theirs in self.pairs):
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


def _are_alike(first: Example, second: Example, are_alike: Callable[[Request, Request], bool]) -> bool:
    """Whether two examples have as many sequences, each pair of which is alike."""
    return len(first.rows) == len(second.rows) and all(map(are_alike, first.rows, second.rows))


def _counts_tokens(task: Task) -> bool:
    """Whether scores are divided by a number of tokens."""
    if task.metric == GOLD_LOSS:
        rows = [row for example in task.examples for row in example.rows]
        return any(len(row.targets) > 1 for row in rows) and all(row.normalizer == len(row.targets) for row in rows)
    return task.metric in (ANSWER_LOSS, LOSS)
