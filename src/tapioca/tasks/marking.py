"""Is a text the right answer? Find the answer in it, and compare: as text, as a number, or as mathematics."""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from tapioca.errors import DataError, RowError
from tapioca.records import NO_CHOICE
from tapioca.tasks import bounded, tale
from tapioca.tasks.sandbox import TooCostly

Match = Literal["text", "number", "math", "tale_letter", "tale_number"]

NUMBER = re.compile(r"(?=[+-]?\.?\d)[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][+-]?\d{1,3})?")
FORMULA = re.compile(r"(\d\s*[-+*/^×÷−]|\\\w+(\s*\{?\d+\}?)?)\s*$")
"""What stands before a number that is part of a formula: `3 /`, or `\\frac 3`."""
MARKED = re.compile(r"(?<!\\)\$|\\boxed")
"""What marks mathematics in a text; a `\\$` is an amount of money."""
AROUND = "*_`\"'()[],;:!?%\\ "
"""Punctuation and markup that may stand around a number."""


@dataclass(frozen=True)
class Marking:
    """How the answer is found in a text, and when it is right.

    Attributes:
        match: compare as text, as numbers, or as mathematical expressions; or as TALE does (`tasks.tale`), which is faulty.
        extract: regular expression of the answer, its first group where it has one; None for the whole text.
        take: which match counts, and which number where there is no `extract`.
        ignore_case: whether texts that differ only in case are equal.
        labels: the letters that `tale_letter` knows.
    """

    match: Match = "text"
    extract: str | None = None
    take: Literal["first", "last"] = "last"
    ignore_case: bool = False
    labels: tuple[str, ...] = ()

    def is_right(self, text: str, gold: str) -> bool:
        """Whether a text gives the gold answer. A text without an answer is wrong."""
        return self.is_equal(self.find_answer(text), gold)

    def is_equal(self, answer: str | None, gold: str) -> bool:
        """Whether an answer that was found in a text is the gold one; no answer never is."""
        if answer is None:
            return False
        if self.match == "number":
            return parse_number(answer) == parse_number(gold)
        if self.match == "tale_number":
            return answer == tale.find_number(gold)
        if self.match == "math":
            return bool(
                _math_verify().verify(
                    _parse_expressions(gold, is_expression=True), _parse_expressions(answer, is_expression=False)
                )
            )
        return _fold(answer, self.ignore_case) == _fold(gold, self.ignore_case)

    def label_index(self, answer: str | None) -> int:
        """Which of the labels an answer is; `NO_CHOICE` where it is none of them."""
        labels = [_fold(label, self.ignore_case) for label in self.labels]
        folded = _fold(answer or "", self.ignore_case)
        return labels.index(folded) if folded in labels else NO_CHOICE

    def find_answer(self, text: str) -> str | None:
        """The answer in a text, without surrounding space; None or empty where there is none."""
        if self.extract is not None:
            matches = _find_all(self.extract, text)
            if not matches or (chosen := self._take_one(matches)) is None:
                return None
            text = chosen
        if self.match == "number":
            return self._number(text)
        if self.match == "tale_letter":
            return tale.find_letter(text, self.labels)
        if self.match == "math":
            return text if _parse_expressions(text, is_expression=False) else None
        return tale.find_number(text) if self.match == "tale_number" else text.strip()

    def check(self, gold: str, where: str) -> None:
        """Refuse a gold answer that no text could give.

        Raises:
            RowError: it is empty, no number or no mathematics, as `match` says.
            DataError: math-verify is not installed.
        """
        if not gold.strip():
            raise RowError(f"{where}: the answer is empty; expected some text", "without an answer")
        if self.match == "number" and parse_number(gold) is None:
            raise RowError(
                f"{where}: answer {gold!r:.60} is no number; use match: text or match: math",
                "whose answer is no number",
            )
        if self.match == "math" and all(isinstance(part, str) for part in _parse_expressions(gold, is_expression=True)):
            raise RowError(
                f"{where}: answer {gold!r:.60} is no mathematics that math-verify reads; use match: text",
                "whose answer is no mathematics",
            )

    def _take_one(self, matches: list[Any]) -> Any:
        return matches[0 if self.take == "first" else -1]

    def _number(self, text: str) -> str | None:
        """The first or last word with a digit in it, if that word is a number by itself and no part of a formula."""
        words = [match for match in re.finditer(r"\S+", text) if re.search(r"\d", match[0])]
        if not words:
            return None
        word = self._take_one(words)
        formula = FORMULA.search(text[: word.start()])
        return None if formula or parse_number(word[0]) is None else word[0]


def _find_all(pattern: str, text: str) -> list[Any]:
    """What the first group of a pattern matches in a text, or the whole of it; a DataError where that takes too long."""
    try:
        return list(bounded.ask("find", pattern, text))
    except TooCostly as error:
        raise DataError(f"extract {pattern!r:.100} costs too much for one text ({text!r:.60}): {error}") from error


def parse_number(text: str) -> Decimal | None:
    """A text as a number, without currency, thousands separators, a per cent sign and what stands around it.

    Only what is a number altogether counts: `x=1,200.50` and `$18.` do, `3/4`, `2x` and `\\frac{3}{4}` do not.
    """
    bare = re.sub(r"[$€£¥]", "", text).replace("−", "-")
    bare = re.sub(r"\\boxed\{([^{}]*)\}", r"\1", re.sub(r"^.*(?<![<>!≤≥≠])=", "", bare.strip(), flags=re.DOTALL))
    bare = bare.strip(AROUND).rstrip(AROUND + ".")
    return Decimal(bare.replace(",", "")) if NUMBER.fullmatch(bare) else None


def _fold(text: str, ignore_case: bool) -> str:
    return text.strip().casefold() if ignore_case else text.strip()


def _parse_expressions(text: str, is_expression: bool) -> Any:
    """What math-verify reads in a text; a text that is one whole expression needs no marks around it."""
    marked_text = f"${text.strip()}$" if is_expression and not MARKED.search(text) else text
    return _parse_cached(_math_verify(), marked_text)


@lru_cache(maxsize=1024)
def _parse_cached(library: Any, text: str) -> Any:
    """What is found in a text is read again when it is compared."""
    return library.parse(text)


def _math_verify() -> Any:
    """The optional library for mathematics; refused where it is not installed."""
    try:
        import math_verify
    except ImportError as error:
        raise DataError("match: math needs math-verify; install it with: pip install 'tapioca-prune[math]'") from error
    return math_verify
