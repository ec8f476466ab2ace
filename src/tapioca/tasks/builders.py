"""What makes the examples of the rows of a file, by the kind of its task."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.build import build_example, build_windows, worked_example
from tapioca.tasks.classify import PAIR
from tapioca.tasks.gold import Golds, Question, find_golds
from tapioca.tasks.limit import name_row
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
    "perplexity": {"text"},
}
"""Fields that a row of each kind must have, besides those its templates print."""


@dataclass(frozen=True, eq=False)
class Builder:
    """Makes the examples of rows by their numbers.

    Attributes:
        table: of the rows.
        encoder: of the model; None for one that reads numbers.
        notes: how the rows are read, one line each.
        questions: of each row that asks one with several answers to choose from; None where rows ask no such.
        golds: the right answers of the same; None where the row's answer is none of its choices.
    """

    table: TaskTable
    encoder: Encoder | None
    notes: Sequence[str] = ()
    questions: Mapping[int, Question] | None = None
    golds: Mapping[int, Golds | None] = field(default_factory=dict)

    @property
    def numbers(self) -> Collection[int]:
        """Rows that examples can be made of."""
        return range(len(self.table.rows)) if self.questions is None else self.questions

    def build(self, number: int, worked: Sequence[Worked] = ()) -> list[Example]:
        """The examples of a row, behind worked ones where it asks a question; a RowError where it cannot be used."""
        source = name_row(self.table.raw[number])
        return [replace(example, source=source) for example in self._build(number, worked)]

    def _build(self, number: int, worked: Sequence[Worked]) -> list[Example]:
        row, spec = self.table.rows[number], self.table.spec
        if self.encoder is None:
            return [prompt_example(row.fields, row.where)]
        if spec.kind == "perplexity":
            return build_windows(row, spec.window, self.encoder)
        row, choices, golds = self._question(number)
        if worked:
            row = Source(row.fields, f"{row.where} with {len(worked)} worked examples")
        return [build_example(row, spec, self.encoder, choices, golds, worked)]

    def worked(self, number: int) -> Worked:
        """A row as a worked example."""
        row, choices, golds = self._question(number)
        return worked_example(row, self.table.spec, choices, golds)

    def _question(self, number: int) -> tuple[Source, Sequence[str], Golds]:
        """A row, what there is to choose from, and the right ones."""
        table, row = self.table, self.table.rows[number]
        if self.questions is None:
            return row, (), ()
        question, golds = self.questions[number], self.golds[number]
        if golds is None:
            raise no_choice_error(question, table.spec)
        choices = question.choices
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
        return Builder(table, None)
    if encoder is None:
        raise DataError(
            f"{table.path} is a {kind} task over text, but the model has no tokenizer; expected fields x and y"
        )
    pair = {PAIR} if kind == "classify" and any(PAIR in row.fields for row in rows) else set()
    required = (REQUIRED[kind] | pair) - ({"choices"} if table.spec.labels else set())
    for row in rows:
        if missing := sorted(required - row.fields.keys()):
            raise row.without_field(missing[0])
    if kind == "perplexity":
        return Builder(table, encoder)
    if kind == "generate" or (kind == "classify" and len(encoder.labels or ()) == 1):
        return Builder(table, encoder, [_prompt_note(table)])
    return _choice_builder(table, encoder)


def _choice_builder(table: TaskTable, encoder: Encoder) -> Builder:
    """The questions of a table and their right answers, found out over all of its rows."""
    rows, spec, name = table.rows, table.spec, table.path.name
    check_kind(spec, encoder, rows[0].where)
    questions = dict(
        table.sieve.make_each(lambda number: (number, question_from_row(rows[number], spec, encoder)), range(len(rows)))
    )
    reading = find_golds(list(questions.values()), reading_from_spec(spec, rows[0]))
    answer = f", answer {spec.continuation!r}" if spec.kind == "choice" else ""
    notes = [f"{_prompt_note(table)}{answer}, the right one given {reading.phrase}"]
    notes += [f"{name}: {note}" for note in (*note_class_names(rows[0], spec, encoder), *reading.notes)]
    if has_own_choices(spec, rows[0]) and not spec.shuffle_choices:
        notes += [f"{name}: {note}" for note in note_always_first(list(questions.values()), reading.golds)]
    return Builder(table, encoder, notes, questions, dict(zip(questions, reading.golds, strict=True)))


def _prompt_note(table: TaskTable) -> str:
    return f"{table.path.name}: prompt {table.spec.template!r}"
