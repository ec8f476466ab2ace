"""Command-line flags from a config record, so that no option is written down twice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined


def command_from_record(
    record: type[BaseModel], run: Callable[[Any], None], argument: str | None = None, without: Collection[str] = ()
) -> Callable[..., None]:
    """A typer command that fills a record and hands it to `run`.

    Every field becomes a flag of its name with its description as help; the field named by `argument`
    is given without a flag, and those in `without` are not offered.
    """

    def command(**values: Any) -> None:
        field_values = {
            name: tuple(field_value) if isinstance(field_value, list) else field_value
            for name, field_value in values.items()
        }
        run(record(**{name: field_value for name, field_value in field_values.items() if field_value is not None}))

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            _parameter_from_field(name, field, positional=name == argument)
            for name, field in record.model_fields.items()
            if name not in without
        ]
    )
    command.__doc__ = run.__doc__
    return command


def _parameter_from_field(name: str, field: FieldInfo, positional: bool) -> inspect.Parameter:
    """One field as a typer parameter."""
    kind: Any = field.annotation
    default: Any = ... if field.default is PydanticUndefined else field.default
    if get_origin(kind) is tuple:
        kind, default = list[get_args(kind)[0]], list(default)  # type: ignore[misc]
    describe: Any = typer.Argument if positional else typer.Option
    flag = [] if positional or kind is not bool else [f"--{name.replace('_', '-')}"]
    info = describe(*flag, help=field.description, show_default=default not in (None, False, ..., [], ""))
    annotation = Annotated[kind, info]
    if default is ...:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
