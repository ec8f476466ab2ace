"""The description of a data file as a YAML to be edited: what was said of it, and what was guessed."""

import math
import os
from pathlib import Path
from typing import Any

import yaml

from tapioca.disk import explain_failure, write_text
from tapioca.errors import UsageError
from tapioca.tasks.columns import Columns
from tapioca.tasks.spec import HUB, TaskSpec
from tapioca.tasks.table import read_table
from tapioca.tasks.text import Encoder

HINTS = {
    "kind": "guessed; others: choice, label, generate, classify, perplexity, regression",
    "template": "guessed; jinja2 over the columns, {{ row['A name'] }} where a name holds a space",
    "labels": "guessed: the values of the column; labels of your own need answers: index, or the same names",
    "answers": "guessed: by the text of a label; else index (from 0) or letter",
}
"""What a field that was guessed could be instead."""


class _Dumper(yaml.SafeDumper):
    """Line breaks stand as \\n, so that every value is one line."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None),
)


def write_description(name: str, encoder: Encoder | None, options: dict[str, Any], target: Path) -> None:
    """Write how a data file is read to a new YAML file, a comment at whatever was guessed; `--task` reads it.

    Args:
        name, encoder, options: as for `load_task`.
        target: of the new file; the data are named relative to it.

    Raises:
        DataError: the data cannot be read, or do not tell what they are for.
        UsageError: the file is there.
        StoreError: it cannot be written.
    """
    table = read_table(name, encoder, options)
    start = f"{table.path.name} as it is read; what was guessed may be wrong: edit it, then name this file as the task"
    lines = [_comment(text) for text in (start, *table.notes)]
    lines += [f"data: {_dumped(_relative(table.path, target))}"]
    lines += _entries(table.spec, table.said_spec, Columns(table.raw).describe())
    with explain_failure(target):
        if target.exists():
            raise UsageError(f"{target} is there already and is not overwritten; give --write another name")
        write_text(target, "\n".join(lines) + "\n")


def _entries(spec: TaskSpec, said_spec: TaskSpec, columns: str) -> list[str]:
    """A line for each field of a description, and one before it where it was guessed."""
    lines = []
    values = spec.model_dump(mode="json", exclude_defaults=True, exclude={"data", "trust_task_code"})
    for name, value in values.items():
        if name == "fields":
            lines += ["fields:", *_columns(spec, said_spec, columns)]
            continue
        if name in HINTS and getattr(spec, name) != getattr(said_spec, name):
            lines.append(_comment(HINTS[name]))
        lines.append(f"{name}: {_dumped(value)}")
    return lines


def _columns(spec: TaskSpec, said_spec: TaskSpec, columns: str) -> list[str]:
    guessed = [name for name in spec.fields if name not in said_spec.fields]
    about = [_comment(f"guessed: {', '.join(guessed)}; the columns are {columns}")] if guessed else []
    lines = [*about, *(f"{_dumped(name)}: {_dumped(column)}" for name, column in spec.fields.items())]
    return [f"  {line}" for line in lines]


def _comment(text: str) -> str:
    """A comment of one line; YAML takes no control characters there either."""
    return "# " + "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def _dumped(value: Any) -> str:
    """A value as YAML of one line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def _relative(data: Path, place: Path) -> str:
    """How a description names its data: hub data by id, a folder read as such by its whole path, files from where it is."""
    if str(data).startswith(HUB):
        folder, comma, options = str(data).removeprefix(HUB).partition(",")
        return f"{HUB}{os.path.abspath(folder) if os.path.exists(folder) else folder}{comma}{options}"
    data_path, folder_path = (os.path.join(os.path.realpath(path.parent), path.name) for path in (data, place))
    try:
        return Path(os.path.relpath(data_path, os.path.dirname(folder_path))).as_posix()
    except ValueError:  # another drive of Windows
        return data_path
