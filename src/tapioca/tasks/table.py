"""The rows of a file under the names that tasks expect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.guess import complete_spec
from tapioca.tasks.rows import Source, read_rows
from tapioca.tasks.sieve import Sieve
from tapioca.tasks.spec import Kind, TaskSpec, make_spec, read_spec
from tapioca.tasks.template import evaluate
from tapioca.tasks.text import Encoder


@dataclass(frozen=True)
class TaskTable:
    """The usable rows of a file, and what is known of them.

    Attributes:
        path: of the file.
        raw: the rows as they were read.
        rows: the same, with fields under the names tasks expect.
        said_spec: what was said of them.
        spec: the same, completed by what their columns tell.
        sieve: told of rows that cannot be used.
        notes: what was guessed, one line each.
        total: rows of the file, usable or not.
    """

    path: Path
    raw: Sequence[Source]
    rows: Sequence[Source]
    said_spec: TaskSpec
    spec: TaskSpec
    sieve: Sieve
    notes: Sequence[str]
    total: int

    @property
    def kind(self) -> Kind:
        """Of the task."""
        return self.spec.kind or "perplexity"


def read_table(
    name: str, encoder: Encoder | None, options: dict[str, Any], rows: list[Source] | None = None
) -> TaskTable:
    """The rows of a file or a task YAML, and what is said of them and told by their columns; arguments as for `load_task`.

    Raises:
        DataError: the file cannot be read, or stays unclear.
    """
    if rows is None:
        path, spec = read_spec(CATALOG.get(name, Path(name)), options)
        rows = read_rows(path)
    else:
        path, spec = Path(name), make_spec(options, name)
    sieve = Sieve(str(path), spec.skip_bad_rows, spec.too_long == "skip")
    pairs = list(sieve.make_each(lambda item: (item[1], rename_fields(item[1], spec.fields, item[0])), enumerate(rows)))
    if not pairs:
        sieve.check(len(rows))
    renamed = [row for _, row in pairs]
    completed, guessed, notes = complete_spec(renamed, spec, encoder, path)
    if guessed:
        renamed = [rename_fields(row, guessed, number) for number, row in enumerate(renamed)]
    if completed.num_fewshot and completed.kind == "generate" and not (completed.stop or completed.chat):
        end = completed.fewshot_delimiter
        completed = completed.model_copy(update={"stop": (end,)})
        notes = [*notes, f"{path.name}: a text ends at {end!r}, which parts worked examples; stop says otherwise"]
    notes += [f"{path.name}: {note}" for note in sorted({row.note for row in rows} - {""})]
    return TaskTable(path, [row for row, _ in pairs], renamed, spec, completed, sieve, notes, len(rows))


def rename_fields(row: Source, names: Mapping[str, str | tuple[str, ...]], number: int) -> Source:
    """Put fields, or what is computed from them and the row's number, under the names tasks expect."""
    fields = dict(row.fields)
    classes = {name: names_of_classes for name, names_of_classes in row.classes.items() if name not in names}
    for expected, column in names.items():
        if isinstance(column, str):
            fields[expected] = evaluate_column(row, column, number)
            if column in row.classes:
                classes[expected] = row.classes[column]
        else:
            fields[expected] = [evaluate_column(row, part, number) for part in column]
    return Source(fields, row.where, classes)


def evaluate_column(row: Source, column_or_template: str, number: int) -> Any:
    """A field of a row, or what an expression over its fields gives."""
    if column_or_template.startswith("{{"):
        return evaluate(column_or_template, {"row_number": number, **row.fields}, row.where)
    if column_or_template in row.fields:
        return row.fields[column_or_template]
    raise row.without_field(column_or_template)
