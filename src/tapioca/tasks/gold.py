"""Which choice is right: how a file gives its answers is decided once, over all its rows."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tapioca.errors import DataError

AnswerForm = Literal["choice", "label", "index", "letter"]
Golds = tuple[int, ...]

PHRASES: dict[AnswerForm, str] = {
    "choice": "as the text of a choice",
    "label": "by the label of a choice",
    "index": "as an index from 0",
    "letter": "as a letter",
}
BOOLEANS = {True: ("yes", "true"), False: ("no", "false")}
"""Choices that a JSON boolean means; of others, such as A and B, it does not say which is the right one."""

LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
"""A letter as answer: C, (C), C) or C."""

NUMBER = re.compile(r"([0-9]{1,4})(?:\.0)?")
"""An index as text; pandas writes 2.0 where a value of the column is missing."""

UNLIKELY = 0.05
"""Probability, if every choice were right equally often, below which a first choice that is never right is pointed out."""


@dataclass(frozen=True)
class Question:
    """What decides which choice of a row is right.

    Attributes:
        where: place of the row, for messages.
        answer: as the row has it; a list where several are right.
        choices: the choices, or the labels of a task; "" for a column of choices that the row leaves empty.
        labels: names of the choices where the row gives them (A to D, or 1 to 4).
        typed: whether the file tells texts from numbers; a CSV does not.
    """

    where: str
    answer: Any
    choices: tuple[str, ...]
    labels: tuple[str, ...] = ()
    typed: bool = True

    @property
    def values(self) -> list[Any]:
        """The answers one by one."""
        return self.answer if isinstance(self.answer, list) else [self.answer]


@dataclass(frozen=True)
class AnswerReading:
    """How answers are read.

    Attributes:
        way: said by the user; None to find out.
        computed: whether the answer is an expression, whose numbers are indices.
        by_name: whether all rows have the same named labels, so that even a number may be a name.
        field: what the answer is called.
        column: what the file, or the expression, calls it.
    """

    way: AnswerForm | None = None
    computed: bool = False
    by_name: bool = False
    field: str = "answer"
    column: str = "answer"


@dataclass(frozen=True)
class RightChoices:
    """The right choices of each question, None where the answer is none of them; and what to say about it."""

    golds: list[Golds | None]
    phrase: str
    notes: list[str] = field(default_factory=list)


def find_golds(questions: Sequence[Question], reading: AnswerReading) -> RightChoices:
    """The right choices of all rows of a file.

    Numbers are indices, texts are choices, unless a row of the file contradicts; where a file does not tell them apart,
    the reading that fits all rows decides.

    Raises:
        DataError: two readings fit all rows and give different answers, none fits all, or answers count from 1.
    """
    ways = {way: [_read_golds(way, question, reading) for question in questions] for way in READERS}
    usable = [index for index in range(len(questions)) if any(golds[index] for golds in ways.values())]
    fitting = [way for way, golds in ways.items() if usable and all(golds[index] for index in usable)]
    way = _choose(fitting, ways, questions, usable, reading)
    _refuse_counting_from_1(questions, ways[way] if way else None, reading)
    if way is None:
        return RightChoices(_each_its_own(ways, questions, usable, reading), "in several ways")
    notes = _first_never_right(questions, ways[way], reading) if way == "index" else []
    phrase = "by name" if reading.by_name and way == "choice" else PHRASES[way]
    return RightChoices(ways[way], phrase, notes)


def _read_golds(way: AnswerForm, question: Question, reading: AnswerReading) -> Golds | None:
    """The right choices if answers are given in this way; None where that does not fit the row."""
    golds = []
    for raw_answer in question.values:
        if way not in _list_forms(raw_answer, reading):
            return None
        golds.append(READERS[way](raw_answer, question))
    return tuple(dict.fromkeys(golds)) if golds and None not in golds else None  # type: ignore[arg-type]


def _list_forms(raw_answer: Any, reading: AnswerReading) -> tuple[AnswerForm, ...]:
    if reading.way:
        return (reading.way,)
    if isinstance(raw_answer, bool):
        return ("choice",)
    if isinstance(raw_answer, str):
        return ("label", "choice", "index", "letter")
    return ("index",) if reading.computed else ("choice", "index")


def _by_text(raw_answer: Any, names: Sequence[str]) -> int | None:
    stripped = [name.strip() for name in names]
    if isinstance(raw_answer, bool):
        matches = [index for index, name in enumerate(stripped) if name.lower() in BOOLEANS[raw_answer]]
        return matches[0] if len(matches) == 1 and len(names) == 2 else None
    return next((stripped.index(text) for text in list_texts(raw_answer) if text and text in stripped), None)


def list_texts(cell: Any) -> list[str]:
    """What a value may stand for as text: a whole number that pandas made a float, because another is missing, is both."""
    if isinstance(cell, float) and cell.is_integer():
        return [str(int(cell)), str(cell)]
    return [str(cell).strip()] if isinstance(cell, (str, int, float)) else []


def _by_index(raw_answer: Any, question: Question) -> int | None:
    number = _number(raw_answer)
    return number if number is not None and 0 <= number < len(question.choices) else None


def _by_letter(raw_answer: Any, question: Question) -> int | None:
    letter = LETTER.fullmatch(raw_answer.strip()) if isinstance(raw_answer, str) else None
    if letter is None:
        return None
    index = ord(letter[1].upper()) - ord("A")
    return index if index < len(question.choices) else None


READERS: dict[AnswerForm, Callable[[Any, Question], int | None]] = {
    "label": lambda raw_answer, question: _by_text(raw_answer, question.labels),
    "choice": lambda raw_answer, question: _by_text(raw_answer, question.choices),
    "index": _by_index,
    "letter": _by_letter,
}


def _number(raw_answer: Any) -> int | None:
    if isinstance(raw_answer, bool):
        return None
    if isinstance(raw_answer, int) or (isinstance(raw_answer, float) and raw_answer.is_integer()):
        return int(raw_answer)
    number = NUMBER.fullmatch(raw_answer) if isinstance(raw_answer, str) else None
    return int(number[1]) if number else None


def _choose(
    fitting: list[AnswerForm],
    ways: dict[AnswerForm, list[Golds | None]],
    questions: Sequence[Question],
    usable: list[int],
    reading: AnswerReading,
) -> AnswerForm | None:
    """The reading of the file among those that fit all its rows; None where none does."""
    if not fitting:
        return None
    if reading.by_name and "choice" in fitting:  # labels of a whole task that are letters are meant by their names
        fitting = [way for way in fitting if way != "letter"]
    ambiguous_index = next((index for index in usable if len({ways[way][index] for way in fitting}) > 1), None)
    are_texts = {isinstance(raw_answer, str) for index in usable for raw_answer in questions[index].values}
    if "label" in fitting:
        return "label"
    if "index" in fitting and are_texts == {False} and (ambiguous_index is None or not reading.by_name):
        return "index"
    if ambiguous_index is None:
        return fitting[0]
    if set(fitting) == {"choice", "index"} and are_texts == {True} and questions[ambiguous_index].typed:
        return "choice"
    raise _ambiguous(questions[ambiguous_index], fitting, reading)


def _ambiguous(question: Question, fitting: Sequence[AnswerForm], reading: AnswerReading) -> DataError:
    """Two readings of an answer, and how to say which is meant."""
    names = {"choice": "a name" if reading.by_name else "a choice", "index": "an index", "letter": "a letter"}
    kinds = " or ".join(names[way] for way in fitting if way in names)
    text = "write it as text to mean the name, or " if reading.by_name and isinstance(question.answer, int) else ""
    flags = " or ".join(f"--answers {way}" for way in fitting)
    return DataError(
        f"{question.where}: {reading.field} {question.answer!r:.60} may be {kinds}; {text}say which: {flags} "
        "(all rows of the file fit both)"
    )


def _each_its_own(
    ways: dict[AnswerForm, list[Golds | None]], questions: Sequence[Question], usable: list[int], reading: AnswerReading
) -> list[Golds | None]:
    """The right choices where no reading fits all rows, but each row has only one; a row with two is refused."""
    golds_by_question: list[Golds | None] = [None] * len(questions)
    for index in usable:
        fitting = [way for way, golds in ways.items() if golds[index]]
        if len({ways[way][index] for way in fitting}) > 1:
            contradicting_index = next(other_index for other_index in usable if not ways[fitting[0]][other_index])
            raise DataError(
                f"{questions[index].where}: {reading.field} {questions[index].answer!r:.60} may be given "
                f"{' or '.join(PHRASES[way] for way in fitting)}, and no way of giving it fits all rows "
                f"({questions[contradicting_index].where} has {questions[contradicting_index].answer!r:.60}); say which with --answers {fitting[0]} "
                f"or --answers {fitting[1]}"
            )
        golds_by_question[index] = ways[fitting[0]][index]
    return golds_by_question


def _refuse_counting_from_1(
    questions: Sequence[Question], golds: Sequence[Golds | None] | None, reading: AnswerReading
) -> None:
    """Refuse indices of which the highest is the number of choices and 0 is none."""
    numbers = [
        (question, number) for question in questions for number in map(_number, question.values) if number is not None
    ]
    past = next((question for question, number in numbers if number == len(question.choices)), None)
    if past is None or reading.way not in (None, "index") or (golds and golds[questions.index(past)]):
        return
    if all(1 <= number <= len(question.choices) for question, number in numbers):
        raise DataError(
            f"{past.where}: {reading.field} {past.answer!r:.60} is none of the {len(past.choices)} choices counted from 0; "
            f"all numbers given as {reading.field} are at least 1, so they seem to count from 1: say {describe_cure(reading)}"
        )


def describe_cure(reading: AnswerReading) -> str:
    """The option that counts an answer from 0."""
    inner = reading.column.strip().removeprefix("{{").removesuffix("}}").strip()
    return f'--field {reading.field}="{{{{ ({inner} | int) - 1 }}}}"'


def _first_never_right(
    questions: Sequence[Question], golds: Sequence[Golds | None], reading: AnswerReading
) -> list[str]:
    """A line where 0 is never an index though it should have been, as where the last choice of a count from 1 is never right."""
    chance = 1.0
    for question, right in zip(questions, golds, strict=True):
        chance *= (1 - 1 / len(question.choices)) if right else 1
    if chance > UNLIKELY or any(right and 0 in right for right in golds):
        return []
    return [
        f"the first choice is never right in {len(questions)} rows when {reading.field} counts from 0; if it counts from 1, "
        f"say {describe_cure(reading)}"
    ]
