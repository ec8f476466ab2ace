"""What records of the program are as JSON: their keys, types and meanings, as rows of Markdown tables.

A key's meaning is the description of its field, else its text under "Attributes" in the record's docstring, else what
the field's type is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, PlainSerializer
from pydantic.fields import FieldInfo

Record = type[BaseModel]
PLAIN = {str: "string", Path: "string", date: "string", int: "integer", float: "number", bool: "true or false"}


def describe_record(record: Record, homes: dict[Record, str]) -> str:
    """The rows of a record's table; keys of one meaning share a row, their types in the same order where they differ.

    Args:
        record: what to describe.
        homes: where on the page each record stands.

    Raises:
        ValueError: a key has no meaning.
    """
    types_by_meaning: dict[str, dict[str, str]] = {}
    for name, field in list_fields(record).items():
        types = types_by_meaning.setdefault(find_meaning(record, name), {})
        types[f"`{name}`"] = describe_type(serialized_type(field), homes)
    rows = []
    for meaning, types in types_by_meaning.items():
        kinds = list(types.values())
        kind = kinds[0] if len(set(kinds)) == 1 else "; ".join(kinds)
        rows.append(f"| {', '.join(types)} | {kind} | {escape(meaning)} |")
    return "\n".join(rows)


def list_fields(record: Record) -> dict[str, FieldInfo]:
    """The fields that stand in a file."""
    return {name: field for name, field in record.model_fields.items() if not field.exclude}


def list_nested(records: Iterable[Record]) -> Iterator[Record]:
    """All records that stand in others, in the order in which they are met."""
    seen, queue = set(records), list(records)
    for record in queue:
        for field in list_fields(record).values():
            for part in find_records(field.annotation):
                if part not in seen:
                    seen.add(part)
                    queue.append(part)
                    yield part


def find_records(kind: Any) -> Iterator[Record]:
    """The records that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from find_records(part)


def serialized_type(field: FieldInfo) -> Any:
    """The type that a field has in JSON."""
    return next((part.return_type for part in field.metadata if isinstance(part, PlainSerializer)), field.annotation)


def describe_type(kind: Any, homes: dict[Record, str]) -> str:
    """A type in plain words, as Markdown."""
    parts, origin = get_args(kind), get_origin(kind)
    if kind in homes:
        return f"[{kind.__name__}]({homes[kind]})"
    if kind in PLAIN:
        return PLAIN[kind]
    if kind is NoneType:
        return "`null`"
    if origin is Annotated:
        return describe_type(parts[0], homes)
    if origin is Literal:
        return " or ".join(f'`"{part}"`' for part in parts).replace("|", "\\|")
    if origin in (Union, UnionType):
        return " or ".join(describe_type(part, homes) for part in parts)
    if origin is dict:
        return f"object: {describe_type(parts[0], homes)} → {describe_type(parts[1], homes)}"
    if origin is tuple:
        element, count = describe_type(parts[0], homes), "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"list of {count}{f'({element})' if ' or ' in element else make_plural(element)}"
    raise ValueError(f"no words for the type {kind}")


def make_plural(kind: str) -> str:
    """A type in words, several of it."""
    first, _, rest = kind.partition(" ")
    return f"{first}s{' ' * bool(rest)}{rest}" if first.isalpha() else kind


def find_meaning(record: Record, name: str) -> str:
    """What a key means: by the field's description, the record's docstring or its type, in this order.

    Raises:
        ValueError: none of them says.
    """
    field = record.model_fields[name]
    by_docstring = (read_attributes(parent.__doc__ or "").get(name) for parent in record.__mro__)
    by_type = (summarize(part).partition(". ")[0] for part in find_records(field.annotation))
    if meaning := next(filter(None, (field.description, *by_docstring, *by_type)), None):
        return meaning
    raise ValueError(f"{record.__name__}.{name} has no meaning; add it to the Attributes of the docstring")


def read_attributes(docstring: str) -> dict[str, str]:
    """The names and texts of the section "Attributes"."""
    _, _, section = f"{cleandoc(docstring)}\n\n".partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section.partition("\n\n")[0], re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def summarize(record: Record) -> str:
    """The first line of a record's docstring."""
    return cleandoc(record.__doc__ or "").partition("\n")[0].removesuffix(".")


def escape(text: str) -> str:
    """A docstring's text as a cell of a Markdown table, in the words of JSON."""
    for word, json_word in (("None", "`null`"), ("False", "`false`"), ("True", "`true`")):
        text = re.sub(rf"(?<!`)\b{word}\b(?!`)", json_word, text)
    text = text.removesuffix(".").replace("|", "\\|").replace("<", "&lt;")
    return text[:1].upper() + text[1:]
