"""Which rows of a file are used where only some are asked for: drawn before anything is made of them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
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
            group = read_field(fields, "group", content)
            return hash_with_seed(group, self.seed), read_field(fields, "id", content), number

        return sorted(range(len(rows)), key=key)


def hash_with_seed(name: str, seed: int) -> bytes:
    """Where a name stands in an order that a seed shuffles."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def digest_row(row: Source) -> str:
    """Names what a row says, whatever its id and the order of its fields."""
    fields = {str(name): field_value for name, field_value in row.fields.items() if name != "id"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()


def name_row(row: Source) -> str:
    """The first sixteen digits of it, by which a row is known elsewhere."""
    return digest_row(row)[:16]


def build_some(
    make: Callable[[int], Iterable[Example]], order: Sequence[int], sieve: Sieve, limit: Limit | None
) -> tuple[list[tuple[int, Example]], int]:
    """Make examples of rows by their numbers, in the order in which they are drawn, until there are as many as the limit;
    the sieve is told of rows that cannot be used.

    Returns:
        Numbers of rows with their examples, in the order of the file; and how many examples there would be without a
        limit, by the share of rows used.
    """
    row_numbers = iter(order)
    pairs_by_row = sieve.make_each(lambda number: [(number, example) for example in make(number)], row_numbers)
    drawn_pairs = islice(chain.from_iterable(pairs_by_row), limit.examples if limit else None)
    numbered_examples = sorted(drawn_pairs, key=itemgetter(0))
    n_used = len(order) - len(list(row_numbers))
    return numbered_examples, round(len(numbered_examples) * len(order) / max(1, n_used))
