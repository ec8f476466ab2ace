"""Tasks from files: which field is what, how the prompt is written, and what was guessed."""

from typing import Any

from tapioca.errors import DataError
from tapioca.records.portable import portable_name
from tapioca.tasks.base import Task, check_unique, make_ids_unique
from tapioca.tasks.build import find_task_class
from tapioca.tasks.builders import Builder, builder_of
from tapioca.tasks.file_shots import FileShots
from tapioca.tasks.limit import Limit, build_some
from tapioca.tasks.rows import Source
from tapioca.tasks.score_function import ScoreFunction, load_score_function
from tapioca.tasks.spec import Kind
from tapioca.tasks.table import TaskTable, read_table
from tapioca.tasks.text import Encoder

CHAT_KINDS: tuple[Kind, ...] = ("choice", "label", "generate")
"""Kinds whose questions can be asked in a chat, or behind worked examples."""


def load_task(
    name: str,
    encoder: Encoder | None,
    task_options: dict[str, Any],
    rows: list[Source] | None = None,
    limit: Limit | None = None,
) -> Task:
    """Read a task from a data file or a task YAML.

    Args:
        name: path of a .jsonl, .csv or .parquet file, or of a .yaml that names one; hub:ID; or a name of the catalog. A
            YAML of the same stem beside a data file is read too.
        encoder: the model's text encoder; None for models that read numbers.
        task_options: fields of `TaskSpec` set by the user; they win over the YAML.
        rows: of a task that is in memory; `name` is then only what it is called.
        limit: how many examples are made, and of which rows; all by default. How answers are given is decided over all.

    Raises:
        DataError: with file and line, whatever is wrong.
    """
    table = read_table(name, encoder, task_options, rows)
    _check_options(table)
    n_merged_before = encoder.merged if encoder else 0
    builder = builder_of(table, encoder)
    score_function = _score_function(table)
    numbered_examples, available = build_some(builder.build, _order(table, builder, limit), table.sieve, limit)
    table.sieve.check(table.total)
    examples, n_equal = make_ids_unique([(example, table.rows[number]) for number, example in numbered_examples])
    check_unique(str(table.path), examples)
    notes = [*table.notes, *builder.notes]
    if encoder:
        notes += _encoding_notes(table, encoder, encoder.merged - n_merged_before)
    notes += _row_notes(table, name, n_equal)
    numbers = {example.id: number for example, (number, _) in zip(examples, numbered_examples, strict=True)}
    score_fields: dict[str, Any] = {}
    if score_function:
        notes.append(f"{table.path.name}: texts are scored by {score_function.name}, whose code runs")
        score_fields["sources"] = {id: table.rows[number] for id, number in numbers.items()}
    count = table.spec.num_fewshot
    return find_task_class(table.spec, encoder, score_function)(
        **score_fields,
        name=name,
        examples=tuple(examples),
        notes=tuple(notes),
        skipped=table.sieve.skipped,
        available=available,
        labels=table.spec.labels if table.kind in ("choice", "label") else (),
        labels_read=bool(table.spec.labels) and not table.said_spec.labels,
        shots=FileShots(count, builder, numbers) if count else None,
    )


def _check_options(table: TaskTable) -> None:
    """Refuse what was said of a task of another kind, with what to leave out."""
    path, kind = table.path, table.kind
    if table.spec.chat and kind not in CHAT_KINDS:
        raise DataError(
            f"{path}: a chat is for questions ({', '.join(CHAT_KINDS)}), this is a {kind} task; leave out --chat, or chat: true"
        )
    if table.spec.num_fewshot and kind not in CHAT_KINDS:
        raise DataError(
            f"{path}: worked examples are for questions ({', '.join(CHAT_KINDS)}), this is a {kind} task; leave out --num-fewshot, "
            "or num_fewshot"
        )
    if table.spec.shuffle_choices and kind != "choice":
        raise DataError(
            f"{path}: this is a {kind} task; only written-out choices can be shuffled, leave out --shuffle-choices"
        )


def _score_function(table: TaskTable) -> ScoreFunction | None:
    """The user's own scoring function, where the file names one; refused where nothing is written that it could score."""
    spec, path = table.spec, table.path
    if spec.score_function is None:
        return None
    if table.kind != "generate":
        raise DataError(f"{path}: score_function scores written texts, this is a {table.kind} task; use kind: generate")
    return load_score_function(spec.score_function, path.parent, spec.trust_task_code)


def _order(table: TaskTable, builder: Builder, limit: Limit | None) -> list[int]:
    """The rows that examples can be made of: in the order in which a limit draws them, else as they stand."""
    is_drawn = limit and limit.examples < len(table.rows)
    order = limit.order(table.raw, table.rows) if limit and is_drawn else range(len(table.rows))
    return [number for number in order if number in builder.numbers]


def _encoding_notes(table: TaskTable, encoder: Encoder, merged: int) -> list[str]:
    """What is said of how questions became tokens."""
    name, notes = table.path.name, []
    if merged:
        notes.append(f"{name}: in {merged} answers a token reaches back into the prompt; start answers with a space")
    if table.kind in CHAT_KINDS and not table.spec.chat:
        notes += encoder.note_unused_template(name)
    return notes


def _row_notes(table: TaskTable, name: str, equal: int) -> list[str]:
    """What is said of rows that were skipped or that say the same."""
    notes, file = [], table.path.name
    if table.spec.note:
        notes.append(f"{portable_name(name)}: {table.spec.note}")
    if skipped := table.sieve.skipped:
        counts = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        notes.append(f"{file}: {sum(skipped.values())} of {table.total} rows skipped: {counts}")
    if equal:
        notes.append(f"{file}: {equal} rows say the same as an earlier one; each is kept, in one group with it")
    return notes
