"""The order of choices: where a file has the right one first, each row is given an order of its own."""

import hashlib
from collections.abc import Sequence
from math import prod

from tapioca.tasks.gold import UNLIKELY, Golds, Question
from tapioca.tasks.limit import digest_row
from tapioca.tasks.rows import Source


def shuffle_choices(raw: Source, choices: Sequence[str], golds: Golds) -> tuple[tuple[str, ...], Golds]:
    """Choices in an order that only what the row says decides, and where the right ones are then.

    Args:
        raw: the row as it was read; neither its id, its place in the file nor the order of its fields matters.
        choices: all different.
        golds: indices of the right ones.
    """
    content = digest_row(raw)
    order = sorted(
        range(len(choices)), key=lambda index: hashlib.sha256(f"{content} {choices[index]}".encode()).digest()
    )
    return tuple(choices[index] for index in order), tuple(order.index(gold) for gold in golds)


def note_always_first(questions: Sequence[Question], golds: Sequence[Golds | None]) -> list[str]:
    """A line where the first choice is right in every row, though chance would hardly have it so."""
    chance = prod(1 / len(question.choices) for question in questions)
    if not questions or chance > UNLIKELY or any(row_golds != (0,) for row_golds in golds):
        return []
    return [
        f"the first choice is right in all {len(questions)} rows; --shuffle-choices gives each row an order of its own"
    ]
