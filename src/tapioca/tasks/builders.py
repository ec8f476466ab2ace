"""What makes the examples of the rows of a file, by the kind of its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.build import build_example, build_windows, worked_example
from tapioca.tasks.classify import PAIR
from tapioca.tasks.gold import Golds, Question, find_golds
from tapioca.tasks.prompt import Worked
from tapioca.tasks.questions import (
    check_kind,
    drop_empty,
    has_own_choices,
    no_choice_error,
    note_class_names,
    question_from_row,
    reading_from_spec,
)
from tapioca.tasks.regress import prompt_example
from tapioca.tasks.rows import Source
from tapioca.tasks.shuffle import note_always_first, shuffle_choices
from tapioca.tasks.spec import Kind
from tapioca.tasks.table import TaskTable
from tapioca.tasks.text import Encoder

REQUIRED: dict[Kind, set[str]] = {
    "choice": {"answer", "choices"},
    "label": {"answer"},
    "generate": set(),
    "classify": {"label"},
}
"""Fields that a question of each kind must have, besides those its templates print."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Builder(ABC):
    """Makes the examples of rows by their numbers.

    Attributes:
        table: of the rows.
        notes: how they are read, one line each.
    """

    table: TaskTable
    notes: Sequence[str] = ()

    @property
    def numbers(self) -> Container[int]:
        """Rows that examples can be made of."""
        return range(len(self.table.rows))

    @abstractmethod
    def build(self, number: int) -> list[Example]:
        """The examples of a row.

        Raises:
            RowError: the row cannot be used.
        """


class SeriesBuilder(Builder):
    """Rows of numbers."""

    def build(self, number: int) -> list[Example]:
        row = self.table.rows[number]
        return [prompt_example(row.fields, row.where)]


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowBuilder(Builder):
    """Rows of running text."""

    encoder: Encoder

    def build(self, number: int) -> list[Example]:
        return build_windows(self.table.rows[number], self.table.spec.window, self.encoder)


@dataclass(frozen=True, eq=False, kw_only=True)
class QuestionBuilder(Builder):
    """Rows that ask one question each, with nothing to choose from."""

    encoder: Encoder

    def build(self, number: int, worked: Sequence[Worked] = ()) -> list[Example]:
        row, choices, golds = self._question(number)
        if worked:
            row = Source(row.fields, f"{row.where} with {len(worked)} worked examples")
        return [build_example(self.table.kind, row, self.table.spec, self.encoder, choices, golds, worked)]

    def worked(self, number: int) -> Worked:
        """A row as a worked example."""
        row, choices, golds = self._question(number)
        return worked_example(row, self.table.spec, choices, golds)

    def _question(self, number: int) -> tuple[Source, Sequence[str], Golds]:
        """A row, what there is to choose from, and the right ones."""
        return self.table.rows[number], (), ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ChoiceBuilder(QuestionBuilder):
    """Rows that ask one question each, with several answers to choose from.

    Attributes:
        questions: of each row that asks one.
        golds: the right answers of the same; None where the row's answer is none of its choices.
    """

    questions: Mapping[int, Question]
    golds: Mapping[int, Golds | None]

    @property
    def numbers(self) -> Container[int]:
        return self.questions

    def _question(self, number: int) -> tuple[Source, Sequence[str], Golds]:
        table, question, golds = self.table, self.questions[number], self.golds[number]
        if golds is None:
            raise no_choice_error(question, table.kind, table.spec)
        row, choices = table.rows[number], question.choices
        if "" in choices:
            choices, golds = drop_empty(question, golds)
        if table.spec.shuffle_choices:
            choices, golds = shuffle_choices(table.raw[number], choices, golds)
        if choices is not question.choices:
            row = Source({**row.fields, "choices": list(choices)}, row.where)
        return row, choices, golds


def builder_of(table: TaskTable, encoder: Encoder | None) -> Builder:
    """What makes the examples of a table.

    Raises:
        DataError: a field is missing that the kind of task needs, or the model cannot be asked such questions.
    """
    kind, rows = table.kind, table.rows
    if kind == "regression":
        return SeriesBuilder(table=table)
    if encoder is None:
        raise DataError(
            f"{table.path} is a {kind} task over text, but the model has no tokenizer; expected fields x and y"
        )
    if kind == "perplexity":
        _require(rows, {"text"})
        return WindowBuilder(table=table, encoder=encoder)
    pair = {PAIR} if kind == "classify" and any(PAIR in row.fields for row in rows) else set()
    _require(rows, (REQUIRED[kind] | pair) - ({"choices"} if table.spec.labels else set()))
    if kind == "generate" or (kind == "classify" and len(encoder.labels or ()) == 1):
        return QuestionBuilder(table=table, encoder=encoder, notes=[_prompt_note(table)])
    return _choice_builder(table, encoder)


def _choice_builder(table: TaskTable, encoder: Encoder) -> ChoiceBuilder:
    """The questions of a table and their right answers, found out over all of its rows."""
    kind, rows, spec, name = table.kind, table.rows, table.spec, table.path.name
    check_kind(kind, spec, encoder, rows[0].where)
    questions = dict(
        table.sieve.make_each(
            lambda number: (number, question_from_row(rows[number], kind, spec, encoder)), range(len(rows))
        )
    )
    reading = find_golds(list(questions.values()), reading_from_spec(kind, spec, rows[0]))
    answer = f", answer {spec.continuation!r}" if kind == "choice" else ""
    notes = [f"{_prompt_note(table)}{answer}, the right one given {reading.phrase}"]
    notes += [f"{name}: {note}" for note in (*note_class_names(rows[0], kind, spec, encoder), *reading.notes)]
    if has_own_choices(kind, spec, rows[0]) and not spec.shuffle_choices:
        notes += [f"{name}: {note}" for note in note_always_first(list(questions.values()), reading.golds)]
    golds = dict(zip(questions, reading.golds, strict=True))
    return ChoiceBuilder(table=table, encoder=encoder, questions=questions, golds=golds, notes=notes)


def _prompt_note(table: TaskTable) -> str:
    return f"{table.path.name}: prompt {table.spec.template!r}"


def _require(rows: Sequence[Source], names: set[str]) -> None:
    """Refuse rows without the fields the kind of task needs."""
    for row in rows:
        missing = sorted(names - row.fields.keys())
        if missing:
            raise row.without_field(missing[0])
