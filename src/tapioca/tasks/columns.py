"""What stands in the columns of a file, as far as it says what they are for."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from string import ascii_lowercase, digits
from typing import Any

from tapioca.tasks.gold import list_texts
from tapioca.tasks.rows import Source

ABOUT = {"id", "group", "index", "idx", "", "unnamed: 0"}
"""Columns about a row; pandas writes its own index without a name."""

ANSWERS = {
    "answer", "answerkey", "answer_key", "answer_idx", "correct", "correct_answer", "gold", "gold_label", "target", "label", "labels",
    "category", "class", "queue", "intent", "topic", "sentiment", "polarity", "department", "tag", "type",
}  # fmt: skip
"""Names of columns with answers."""

OPTION = re.compile(
    r"(?:(?:choice|option|opt?|alternative|answer|ans|ending|solution|sol|candidate)[ _]?)?([a-z]|[0-9])"
)
"""The name of a column with one of several choices: A, option1, ending_0."""

RIGHT = re.compile(r"(?:correct|right|best|true|gold)[ _]?(?:answer|choice|option|ending)?")
WRONG = re.compile(r"(?:(?:incorrect|wrong|false)[ _]?(?:answer|choice|option|ending)|distractor)[ _]?[0-9a-z]?")
"""Names of columns with the right choice of a row, and with one of the others."""

PAIRS = {
    ("premise", "hypothesis"), ("question", "sentence"), ("question", "passage"), ("query", "document"),
    ("query", "passage"), ("claim", "evidence"),
}  # fmt: skip
"""Names of two columns of texts that are judged together, beside those that differ in 1 and 2, or a and b, at their ends."""

ENDS = {("1", "2"), ("a", "b")}

FEW, MANY = 20, 100
"""Most different answers in a column that is not, and that is, named as one with answers."""


class Columns:
    """The columns of a file by their contents; names are told without case."""

    def __init__(self, rows: Sequence[Source]):
        self.rows = rows
        self.names = [str(name) for name in rows[0].fields]

    def values(self, name: str) -> Iterable[Any]:
        """What stands in a column, but for empty places."""
        return (cell for row in self.rows if (cell := row.fields.get(name)) is not None and cell != "")

    @cached_property
    def telling(self) -> list[str]:
        """The columns that say something of their own."""
        return [name for name in self.names if name.strip().lower() not in ABOUT]

    def find_name(self, wanted_name: str) -> str | None:
        """The column of a name, in whatever case; None where there is none."""
        names = {name.strip().lower(): name for name in reversed(self.names)}
        return wanted_name if wanted_name in self.names else names.get(wanted_name)

    def list_labels(self, name: str) -> tuple[str, ...]:
        """The different values of a column in order, numbers by their size; none where one is neither text nor a whole number."""
        if name in self.rows[0].classes:
            return tuple(self.rows[0].classes[name])
        names = set()
        for cell in self.values(name):
            texts = list_texts(cell)
            if not texts or (isinstance(cell, float) and len(texts) == 1):
                return ()
            names.add(texts[0])
        return in_order(names - {""})

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts alone."""
        cells = list(self.values(name))
        return bool(cells) and all(isinstance(cell, str) for cell in cells)

    def _is_number(self, name: str) -> bool:
        """Whether a column of texts holds numbers alone, such as ids in a CSV."""
        return all(re.fullmatch(r"-?[\d.]+", value.strip()) for value in self.values(name))

    def repeats(self, name: str, max_values: int) -> bool:
        """Whether a column has at least two values, at most so many, and each twice on average."""
        return 2 <= len(self.list_labels(name)) <= min(max_values, len(self.rows) // 2)

    def find_answer(self, taken: set[str]) -> str | None:
        """The one column with answers, by its name and else by its few values; None where none or several may be it."""
        others = [name for name in self.telling if name not in taken]
        named_columns = [name for name in others if name.strip().lower() in ANSWERS and self.repeats(name, MANY)]
        few_columns = [name for name in others if self.repeats(name, FEW)]
        return (named_columns or few_columns)[0] if len(named_columns or few_columns) == 1 else None

    def within(self, labels: Collection[str]) -> str | None:
        """The one column that holds nothing but some of these labels; None where none or several do."""
        names = [name for name in self.telling if (values := self.list_labels(name)) and set(values) <= set(labels)]
        return names[0] if len(names) == 1 else None

    def find_options(self) -> list[str]:
        """The columns that hold one choice each, in the order of the file; none where there are fewer than two."""
        matches = {name: OPTION.fullmatch(name.strip().lower()) for name in self.telling}
        letter_by_column = {name: match[1] for name, match in matches.items() if match}
        letters = "".join(letter_by_column.values())
        in_a_row = ascii_lowercase.startswith(letters) or letters in digits
        return list(letter_by_column) if len(letter_by_column) > 1 and in_a_row else []

    def right_and_wrong(self) -> list[str]:
        """The column with the right choice, and those with wrong ones; none where either is missing or several may be right."""
        right = [name for name in self.telling if RIGHT.fullmatch(name.strip().lower()) and self.is_text(name)]
        wrong = [name for name in self.telling if WRONG.fullmatch(name.strip().lower()) and self.is_text(name)]
        return [*right, *wrong] if len(right) == 1 and wrong else []

    def pair(self) -> tuple[str, str] | None:
        """The two columns of texts that are judged together; None where none or several may be."""
        texts = [name for name in self.telling if self.is_text(name) and not self._is_number(name)]
        names = {name.strip().lower(): name for name in texts}
        stems = [name[:-1] for name in names if len(name) > 1]
        numbered = {(stem + first, stem + second) for stem in stems for first, second in ENDS if stems.count(stem) == 2}
        pairs = [pair for pair in sorted(PAIRS | numbered) if names.keys() >= {*pair}]
        return (names[pairs[0][0]], names[pairs[0][1]]) if len(pairs) == 1 else None

    def describe(self) -> str:
        """The columns, with their values where they are few and else how many there are."""
        parts = []
        for name in self.names:
            labels = self.list_labels(name)
            few = 0 < len(labels) <= 5
            about = ", ".join(f"{label:.20}" for label in labels) if few else f"{len(labels)} values"
            parts.append(f"'{name}' ({about})" if labels else f"'{name}'")
        return " ".join(", ".join(parts).split())  # names and values may hold line breaks


def in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Labels in order, numbers by their size."""
    numbers = all(re.fullmatch(r"-?\d{1,9}", label) for label in labels)
    return tuple(sorted(labels, key=int if numbers else None))
