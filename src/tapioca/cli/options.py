"""Command-line flags from a config record, so that no option is written down twice."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tapioca.records import BaseConfig
from tapioca.report.screen import ScreenOptions

SCREEN_OPTIONS = {
    "quiet": (bool, False, "Show no progress, only notes and the result."),
    "verbose": (
        bool,
        False,
        "Write lines instead of a bar: each stage, how far it is every few seconds, and what workers of --ray print.",
    ),
    "log_file": (Path | None, None, "Write progress and notes into this file as well, behind what it holds."),
}
"""What every command takes beside its request: type, default and help."""


def command_from_record(
    record: type[BaseConfig], run: Callable[[Any, ScreenOptions], None], *arguments: str
) -> Callable[..., None]:
    """A typer command that fills a record and hands it to `run`, with what is to be shown meanwhile.

    Every field becomes a flag of its name with its description as help, but for those that the record does without; the
    fields named by `arguments` are given without a flag.
    """

    def command(**values: Any) -> None:
        screen = ScreenOptions(**{name: values.pop(name) for name in SCREEN_OPTIONS})
        given = {name: setting for name, setting in values.items() if setting is not None}
        tuples = {name: tuple(setting) for name, setting in given.items() if isinstance(setting, list)}
        run(record(**given | tuples), screen)

    parameters = [_parameter_from_field(name, field, name in arguments) for name, field in record.options().items()]
    parameters += [_screen_parameter(name, *option) for name, option in SCREEN_OPTIONS.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__doc__ = run.__doc__
    return command


def _screen_parameter(name: str, kind: Any, default: Any, about: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    info = typer.Option(flag, help=about, show_default=False, rich_help_panel="Screen")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default)


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
