"""What a row asks where one of several answers is right: its choices, and the answer as the row gives it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapioca.errors import DataError, RowError
from tapioca.tasks.gold import AnswerReading, Golds, Question
from tapioca.tasks.rows import Source
from tapioca.tasks.spec import TaskSpec
from tapioca.tasks.text import Encoder

UNTYPED = {".csv", ".tsv"}
"""Endings of files in which all is text."""


def question_from_row(row: Source, spec: TaskSpec, encoder: Encoder) -> Question:
    """The choices of a row and its answer.

    Raises:
        RowError: the row has no choices, two that are the same, or no answer.
    """
    labels: tuple[str, ...] = ()
    if has_own_choices(spec, row):
        columns = spec.fields.get("choices", "")
        choices, labels = _choices(row) if isinstance(columns, str) else (_cells(row), columns)
    else:
        choices = find_labels(spec, encoder)
    answer, classes = row.fields[spec.answer_field], row.classes.get(spec.answer_field)
    if classes is not None and spec.answers != "index":
        answer = _by_class_name(answer, classes, labels if has_own_choices(spec, row) else choices)
    suffixes = Path(row.where.rpartition(":")[0].lower()).suffixes  # of the file that "file:line" names
    return Question(row.where, answer, choices, labels, typed=UNTYPED.isdisjoint(suffixes))


def find_labels(spec: TaskSpec, encoder: Encoder) -> tuple[str, ...]:
    """What all rows are to be told apart by: the labels of a task, or of a classification head."""
    return encoder.labels or () if spec.kind == "classify" else spec.labels


def note_class_names(row: Source, spec: TaskSpec, encoder: Encoder) -> list[str]:
    """A line where the data name their classes, but in other words than the task or the model: then only numbers tell."""
    classes, labels = row.classes.get(spec.answer_field, ()), find_labels(spec, encoder)
    if spec.kind == "choice" or not classes or spec.answers == "index" or _spelling(classes, labels):
        return []
    return [
        f"the data call their classes {', '.join(classes)}, which are none of {', '.join(labels)}; read by their numbers"
    ]


def _by_class_name(answer: Any, classes: Sequence[str], labels: Sequence[str]) -> Any:
    """The names of classes given by number, as the labels spell them; unchanged where the labels have other names."""
    spelling = _spelling(classes, labels)
    if not spelling:
        return answer
    if isinstance(answer, list):
        return [_by_class_name(single_answer, classes, labels) for single_answer in answer]
    is_class_number = isinstance(answer, int) and 0 <= answer < len(classes)
    return spelling.get(classes[answer], classes[answer]) if is_class_number else answer


def _spelling(classes: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The label of each class that has one of its name, but for case where labels differ in more than that."""
    fold = str.casefold if len({label.casefold() for label in labels}) == len(labels) else str
    by_name = {fold(label.strip()): label for label in labels}
    return {name: by_name[fold(name.strip())] for name in classes if fold(name.strip()) in by_name}


def has_own_choices(spec: TaskSpec, row: Source) -> bool:
    """Whether the row itself says what there is to choose from; else the labels of the task do."""
    return spec.kind == "choice" and ("choices" in row.fields or not spec.labels)


def reading_from_spec(spec: TaskSpec, first: Source) -> AnswerReading:
    """How answers are to be read, as far as the user said."""
    field = spec.answer_field
    column = str(spec.fields.get(field, field))
    return AnswerReading(spec.answers, column.startswith("{{"), not has_own_choices(spec, first), field, column)


def check_kind(spec: TaskSpec, encoder: Encoder, where: str) -> None:
    """Refuse a task that has nothing to choose from.

    Raises:
        DataError: labels are fewer than two, or one is empty; or the model has no classification head.
    """
    kind, labels = spec.kind, spec.labels
    tells_apart = len(labels) > 1 and all(label.strip() for label in labels)
    if not tells_apart and (kind == "label" or (kind == "choice" and labels)):
        raise DataError(
            f"{where}: a {kind} task needs at least two labels that are not empty (--label yes --label no), got {list(labels)}"
        )
    if kind == "classify" and encoder.labels is None:
        raise DataError(
            f"{where}: kind: classify needs a model with a classification head (...ForSequenceClassification); "
            "use kind: label for a language model"
        )


def no_choice_error(question: Question, spec: TaskSpec) -> RowError:
    """Says that the answer of a row is none of its choices."""
    field, count = spec.answer_field, len(question.choices)
    if spec.kind == "classify":
        known = ", ".join(question.choices[:5]) + (", ..." if count > 5 else "")
        of, expected = f"the model's {count} labels ({known})", "a name or an index from 0"
    else:
        of, expected = f"the {count} choices", "a choice, its index from 0 or its letter"
    if spec.answers:
        expected = "an index from 0" if spec.answers == "index" else f"a {spec.answers}"
    if isinstance(question.answer, bool):
        expected += f'; say --field {field}="{{{{ {field} | int }}}}" if false is the first choice and true the second'
    return RowError(
        f"{question.where}: {field} {question.answer!r:.60} is none of {of}; expected {expected}",
        f"without a usable {field}",
    )


def drop_empty(question: Question, golds: Golds) -> tuple[tuple[str, ...], Golds]:
    """The choices that a row has, where it leaves columns of choices empty, and where the right ones are among them; a
    RowError where an empty one is right."""
    filled = [index for index, choice in enumerate(question.choices) if choice]
    empty = next((index for index in golds if index not in filled), None)
    if empty is not None:
        raise RowError(
            f"{question.where}: answer {question.answer!r:.60} is the choice in column '{question.labels[empty]}', which is empty",
            "whose right choice is empty",
        )
    return tuple(question.choices[index] for index in filled), tuple(filled.index(gold) for gold in golds)


def _cells(row: Source) -> tuple[str, ...]:
    """The choices of a row that stand in columns, "" where a column is empty: not all rows have as many."""
    cells = ["" if cell is None or cell != cell or not str(cell).strip() else cell for cell in row.fields["choices"]]
    filled = [cell for cell in cells if cell != ""]
    _choices(Source({"choices": filled}, row.where))
    return tuple(cells)


def _choices(row: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices of a row; with their labels where the row has both, as many hub data sets do."""
    choices: Any = row.fields["choices"]
    labels: Any = ()
    if isinstance(choices, dict) and {"text", "label"} <= choices.keys():
        choices, labels = choices["text"], tuple(map(str, choices["label"]))
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c.strip() for c in choices):
        raise RowError(
            f"{row.where}: field 'choices' must be a list of at least two texts, got {choices!r:.80}", "without choices"
        )
    if len({choice.strip() for choice in choices}) < len(choices):
        raise RowError(f"{row.where}: two choices are the same; they must differ", "with two choices that are the same")
    return tuple(choices), labels
