"""Templates over the fields of a row: jinja2 in a sandbox, strict about what is missing."""

from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined
from jinja2.environment import TemplateExpression
from jinja2.sandbox import SandboxedEnvironment

from tapioca.errors import RowError


def render(template: str, fields: dict[str, Any], where: str) -> str:
    """A template over a row's fields, as text; a RowError where it does not fit the row."""
    try:
        text = _compiled(template).render(**_names(fields))
        text.encode()  # a lone surrogate cannot be tokenised
        return text
    except Exception as error:  # a template is a small program of the user's and can raise anything
        raise RowError(
            f"{where}: template {template!r} does not fit the row: {' '.join(str(error).split())}",
            "that the template does not fit",
        ) from error


def evaluate(expression: str, fields: dict[str, Any], where: str) -> Any:
    """What "{{ an expression }}" over a row's fields gives: a text, a number or a list; a RowError where it does not fit."""
    bare_expression = expression.strip().removeprefix("{{").removesuffix("}}")
    try:
        if not expression.strip().endswith("}}"):
            raise ValueError("it does not end with }}")
        evaluated = _compiled_expression(bare_expression)(**_names(fields))
        if isinstance(evaluated, Undefined):
            raise ValueError(f"there is no {bare_expression.strip()}")
        return evaluated
    except Exception as error:  # as above
        raise RowError(
            f"{where}: field {expression!r} does not fit the row: {' '.join(str(error).split())}",
            "that a computed field does not fit",
        ) from error


def _names(fields: dict[str, Any]) -> dict[str, Any]:
    """What a template knows: the fields by name, and all of them as `row`, for names that hold spaces."""
    names = {str(name): field_value for name, field_value in fields.items()}
    return {"row": names, **names}


def _printable(field_value: Any) -> Any:
    """Refuse to print what is no text: None and lists in a prompt are mistakes."""
    if field_value is None or isinstance(field_value, (list, dict)):
        raise ValueError(f"it would print {field_value!r:.60}")
    return field_value


_JINJA = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_printable)


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    return _JINJA.from_string(template)


@lru_cache(maxsize=64)
def _compiled_expression(expression: str) -> TemplateExpression:
    return _JINJA.compile_expression(expression, undefined_to_none=False)
