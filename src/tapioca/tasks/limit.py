"""Which rows of a file are used where only some are asked for: drawn before anything is made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from tapioca.records import Example
from tapioca.tasks.base import read_field
from tapioca.tasks.rows import Source
from tapioca.tasks.sieve import Sieve


@dataclass(frozen=True)
class Limit:
    """How many examples of a data set are used, and the seed that says which.

    A larger limit takes the examples of a smaller one, and more.
    """

    examples: int
    seed: int

    def order(self, raw: Sequence[Source], rows: Sequence[Source]) -> list[int]:
        """The numbers of all rows in the order in which they are drawn: group after group, whatever their order in the
        file; rows without a group by what they say.

        Args:
            raw: the rows as they were read.
            rows: the same with their fields renamed.
        """

        def key(number: int) -> tuple[bytes, str, int]:
            content, fields = digest_row(raw[number]), rows[number].fields
            return (
                hash_with_seed(read_field(fields, "group", content), self.seed),
                read_field(fields, "id", content),
                number,
            )

        return sorted(range(len(rows)), key=key)


def hash_with_seed(name: str, seed: int) -> bytes:
    """Where a name stands in an order that a seed shuffles."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def digest_row(row: Source) -> str:
    """Names what a row says, whatever its id and the order of its fields."""
    fields = {str(name): field_value for name, field_value in row.fields.items() if name != "id"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Built:
    """Examples of a file, in its order.

    Attributes:
        examples: as they were made.
        numbers: of the row behind each.
        available: how many there would be without a limit, by the share of rows used.
    """

    examples: Sequence[Example]
    numbers: Sequence[int]
    available: int


def build_some(
    make: Callable[[int], Iterable[Example]], order: Sequence[int], sieve: Sieve, limit: Limit | None
) -> Built:
    """Make examples of rows, in the order in which they are drawn, until there are enough.

    Args:
        make: gives the examples of a row by its number.
        order: numbers of rows.
        sieve: told of rows that cannot be used.
        limit: how many examples are enough; None for all there are.
    """
    row_numbers = iter(order)
    examples_by_row = sieve.make_each(lambda number: [(number, example) for example in make(number)], row_numbers)
    numbered_examples = list(
        islice((pair for pairs in examples_by_row for pair in pairs), limit.examples if limit else None)
    )
    numbered_examples.sort(key=itemgetter(0))
    n_used = len(order) - len(list(row_numbers))
    return Built(
        examples=[example for _, example in numbered_examples],
        numbers=[number for number, _ in numbered_examples],
        available=round(len(numbered_examples) * len(order) / max(1, n_used)),
    )
