"""The rows of a file under the names that tasks expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapioca.errors import DataError
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
        said: what was said of them.
        spec: the same, completed by what their columns tell.
        sieve: told of rows that cannot be used.
        notes: what was guessed, one line each.
        total: rows of the file, usable or not.
    """

    path: Path
    raw: Sequence[Source]
    rows: Sequence[Source]
    said: TaskSpec
    spec: TaskSpec
    sieve: Sieve
    notes: Sequence[str]
    total: int

    @property
    def kind(self) -> Kind:
        """Of the task."""
        return self.spec.kind or "perplexity"


def read_table(
    name: str, encoder: Encoder | None, given: dict[str, Any], rows: list[Source] | None = None
) -> TaskTable:
    """The rows of a file or a task YAML, and what is said of them and told by their columns; arguments as for `load_task`.

    Raises:
        DataError: the file cannot be read, or stays unclear.
    """
    if rows is None:
        path, spec = read_spec(CATALOG.get(name, Path(name)), given)
        rows = read_rows(path)
    else:
        path, spec = Path(name), make_spec(given, name)
    sieve = Sieve(str(path), spec.skip_bad_rows, spec.too_long == "skip")
    pairs = list(sieve.make_each(lambda item: (item[1], _renamed(item[1], spec.fields, item[0])), enumerate(rows)))
    if not pairs:
        sieve.check(len(rows))
    renamed = [row for _, row in pairs]
    completed, guessed, notes = complete_spec(renamed, spec, encoder, path.name)
    if guessed:
        renamed = [_renamed(row, guessed, number) for number, row in enumerate(renamed)]
    if completed.num_fewshot and completed.kind == "generate" and not (completed.stop or completed.chat):
        end = completed.fewshot_delimiter
        completed = completed.model_copy(update={"stop": (end,)})
        notes = [*notes, f"{path.name}: a text ends at {end!r}, which parts worked examples; stop says otherwise"]
    notes += [f"{path.name}: {note}" for note in sorted({row.note for row in rows} - {""})]
    return TaskTable(path, [row for row, _ in pairs], renamed, spec, completed, sieve, notes, len(rows))


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
