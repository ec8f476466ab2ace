"""Tasks from files: which field is what, how the prompt is written, and what was guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
from tapioca.records import Example
from tapioca.tasks.base import Task, check_unique, tell_apart
from tapioca.tasks.build import build_example, build_windows, task_class
from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.classify import PAIR
from tapioca.tasks.gold import find_golds
from tapioca.tasks.guess import complete_spec
from tapioca.tasks.limit import Limit, build_some
from tapioca.tasks.questions import check_kind, no_choice, question_of, reading_of, unlike_classes
from tapioca.tasks.regress import prompt_example
from tapioca.tasks.rows import Source, read_rows
from tapioca.tasks.score_function import ScoreFunction, load_score_function
from tapioca.tasks.shuffle import always_first, shuffled
from tapioca.tasks.sieve import Sieve
from tapioca.tasks.spec import Kind, TaskSpec, make_spec, read_spec
from tapioca.tasks.template import evaluate
from tapioca.tasks.text import Encoder

ASKED: dict[Kind, set[str]] = {
    "choice": {"answer", "choices"},
    "label": {"answer"},
    "generate": set(),
    "classify": {"label"},
}
"""Fields that a question of each kind must have, besides those its templates print."""

Make = Callable[[int], list[Example]]
"""Makes the examples of a row by its number."""

CHATS: tuple[Kind, ...] = ("choice", "label", "generate")
"""Kinds whose questions can be asked in a chat."""


def load_task(
    name: str,
    encoder: Encoder | None,
    given: dict[str, Any],
    rows: list[Source] | None = None,
    limit: Limit | None = None,
) -> Task:
    """Read a task from a data file or a task YAML.

    Args:
        name: path of a .jsonl, .csv or .parquet file, or of a .yaml that names one; hub:ID; or a name of
            the catalog. A YAML of the same stem
            beside a data file is read too.
        encoder: the model's text encoder; None for models that read numbers.
        given: fields of `TaskSpec` set by the user; they win over the YAML.
        rows: of a task that is in memory; `name` is then only what it is called.
        limit: how many examples are made, and of which rows; all by default. How answers are given is decided over all.

    Raises:
        DataError: with file and line, whatever is wrong.
    """
    if rows is None:
        path, spec = read_spec(CATALOG.get(name, Path(name)), given)
        raw = read_rows(path)
    else:
        path, spec, raw = Path(name), make_spec(given, name), rows
    sieve = Sieve(str(path), spec.skip_bad_rows, spec.too_long == "skip")
    total = len(raw)
    raw, rows, spec, notes = _complete(raw, spec, encoder, path.name, sieve)
    kind = spec.kind or "perplexity"
    order: Sequence[int] = limit.order(raw, rows) if limit and limit.examples < len(rows) else range(len(rows))
    if spec.chat and kind not in CHATS:
        raise DataError(
            f"{path}: a chat is for questions ({', '.join(CHATS)}), this is a {kind} task; leave out --chat, or chat: true"
        )
    if spec.shuffle_choices and kind != "choice":
        raise DataError(
            f"{path}: this is a {kind} task; only written-out choices can be shuffled, leave out --shuffle-choices"
        )
    merged = encoder.merged if encoder else 0
    make: Make
    if kind == "regression":
        make = lambda number: [prompt_example(rows[number].fields, rows[number].where)]  # noqa: E731
    elif encoder is None:
        raise DataError(f"{path} is a {kind} task over text, but the model has no tokenizer; expected fields x and y")
    elif kind == "perplexity":
        _require(rows, {"text"}, path)
        make = lambda number: build_windows(rows[number], spec.window, encoder)  # noqa: E731
    else:
        make, order, said = _ask(kind, raw, rows, order, spec, encoder, sieve, path)
        notes += said
    function = _score_function(spec, kind, path)
    origins: dict[int, Source] = {}

    def make_known(number: int) -> list[Example]:
        made = make(number)
        origins.update((id(example), rows[number]) for example in made)
        return made

    examples, available = build_some(make_known if function else make, order, sieve, limit)
    if encoder and encoder.merged > merged:
        notes.append(
            f"{path.name}: in {encoder.merged - merged} answers a token reaches back into the prompt; start answers with a space"
        )
    sieve.check(total)
    if kind in CHATS and not spec.chat and encoder:
        notes += encoder.unused_template(path.name)
    if spec.note:
        notes.append(f"{name}: {spec.note}")
    if sieve.skipped:
        counts = ", ".join(f"{count} {reason}" for reason, count in sieve.skipped.items())
        notes.append(f"{path.name}: {sum(sieve.skipped.values())} of {total} rows skipped: {counts}")
    sources = [origins[id(example)] for example in examples] if function else []
    examples, equal = tell_apart(examples)
    if equal:
        notes.append(f"{path.name}: {equal} rows say the same as an earlier one; each is kept, in one group with it")
    check_unique(str(path), examples)
    scored: dict[str, Any] = {}
    if function:
        notes.append(f"{path.name}: texts are scored by {function.name}, whose code runs")
        scored["sources"] = {example.id: source for example, source in zip(examples, sources, strict=True)}
    return task_class(kind, spec, encoder, function)(
        **scored, name=name, examples=tuple(examples), notes=tuple(notes), skipped=sieve.skipped, available=available
    )


def _ask(
    kind: Kind,
    raw: Sequence[Source],
    rows: Sequence[Source],
    order: Sequence[int],
    spec: TaskSpec,
    encoder: Encoder,
    sieve: Sieve,
    path: Path,
) -> tuple[Make, Sequence[int], list[str]]:
    """What makes the examples of a file that asks one question a row, the rows that ask one, and what to say about them."""
    pair = {PAIR} if kind == "classify" and any(PAIR in row.fields for row in rows) else set()
    _require(rows, (ASKED[kind] | pair) - ({"choices"} if spec.labels else set()), path)
    prompt = f"{path.name}: prompt {spec.template!r}"
    if kind == "generate" or (kind == "classify" and len(encoder.labels or ()) == 1):
        return lambda number: [build_example(kind, rows[number], spec, encoder)], order, [prompt]
    check_kind(kind, spec, encoder, rows[0].where)
    questions = dict(
        sieve.each(lambda number: (number, question_of(rows[number], kind, spec, encoder)), range(len(rows)))
    )
    found = find_golds(list(questions.values()), reading_of(kind, spec, rows[0]))
    golds = dict(zip(questions, found.golds, strict=True))

    def make(number: int) -> list[Example]:
        question, right = questions[number], golds[number]
        if right is None:
            raise no_choice(question, kind, spec)
        row, choices = rows[number], question.choices
        if spec.shuffle_choices:
            choices, right = shuffled(raw[number], choices, right)
            row = Source({**row.fields, "choices": list(choices)}, row.where)
        return [build_example(kind, row, spec, encoder, choices, right)]

    answer = f", answer {spec.continuation!r}" if kind == "choice" else ""
    about = (*unlike_classes(rows[0], kind, spec, encoder), *found.notes)
    notes = [f"{prompt}{answer}, the right one given {found.phrase}", *(f"{path.name}: {note}" for note in about)]
    if kind == "choice" and not spec.shuffle_choices:
        notes += [f"{path.name}: {note}" for note in always_first(list(questions.values()), found.golds)]
    return make, [number for number in order if number in questions], notes


def _score_function(spec: TaskSpec, kind: Kind, path: Path) -> ScoreFunction | None:
    """The user's own scoring function, where the file names one.

    Raises:
        DataError: nothing is written that it could score, or it cannot or must not be imported.
    """
    if spec.score_function is None:
        return None
    if kind != "generate":
        raise DataError(f"{path}: score_function scores written texts, this is a {kind} task; use kind: generate")
    return load_score_function(spec.score_function, path.parent, spec.trust_task_code)


def _complete(
    raw: Sequence[Source], spec: TaskSpec, encoder: Encoder | None, name: str, sieve: Sieve
) -> tuple[list[Source], list[Source], TaskSpec, list[str]]:
    """Usable rows as they are, the same with fields under the names tasks expect, what is said and guessed, and notes."""
    pairs = list(sieve.each(lambda item: (item[1], _renamed(item[1], spec.fields, item[0])), enumerate(raw)))
    if not pairs:
        sieve.check(len(raw))
    rows = [row for _, row in pairs]
    spec, guessed, notes = complete_spec(rows, spec, encoder, name)
    if guessed:
        rows = [_renamed(row, guessed, number) for number, row in enumerate(rows)]
    return [row for row, _ in pairs], rows, spec, notes


def _renamed(row: Source, names: Mapping[str, str | tuple[str, ...]], number: int) -> Source:
    """Put fields, or what is computed from them and the row's number, under the names tasks expect."""
    found = dict(row.fields)
    for expected, said in names.items():
        if isinstance(said, str):
            found[expected] = _value(row, said, number)
        else:
            found[expected] = [_value(row, column, number) for column in said]
    kept = {name: classes for name, classes in row.classes.items() if name not in names}
    renamed = {
        expected: row.classes[said] for expected, said in names.items() if isinstance(said, str) and said in row.classes
    }
    return Source(found, row.where, {**kept, **renamed})


def _value(row: Source, said: str, number: int) -> Any:
    """A field of a row, or what an expression over its fields gives."""
    if said.startswith("{{"):
        return evaluate(said, {"row_number": number, **row.fields}, row.where)
    if said in row.fields:
        return row.fields[said]
    raise DataError(f"{row.where}: no field '{said}'; the row has: {', '.join(map(str, row.fields))}")


def _require(rows: Sequence[Source], names: set[str], path: Path) -> None:
    """Refuse rows without the fields the kind of task needs."""
    for row in rows:
        missing = sorted(names - row.fields.keys())
        if missing:
            raise DataError(f"{row.where}: no field '{missing[0]}'; the row has: {', '.join(map(str, row.fields))}")
