"""Templates over the fields of a row: jinja2 in a sandbox, within bounds, strict about what is missing."""

from typing import Any

from tapioca.errors import DataError, RowError
from tapioca.tasks import bounded
from tapioca.tasks.sandbox import TooCostly

OURS = "rows"
"""The environment of this package's templates."""


def render(template: str, fields: dict[str, Any], where: str) -> str:
    """A template over a row's fields, as text.

    Raises:
        RowError: it does not fit the row.
        DataError: it costs more than a row may.
    """
    try:
        text = bounded.render(OURS, template, _names(fields))
        text.encode()  # a lone surrogate cannot be tokenised
        return text
    except TooCostly as error:
        raise explain_cost(f"template {template!r:.200}", where, error) from error
    except Exception as error:  # a template is a small program of the user's and can raise anything
        raise RowError(
            f"{where}: template {template!r:.200} does not fit the row: {' '.join(str(error).split())}",
            "that the template does not fit",
        ) from error


def evaluate(expression: str, fields: dict[str, Any], where: str) -> Any:
    """What "{{ an expression }}" over a row's fields gives: a text, a number or a list; raises as `render` does."""
    bare_expression = expression.strip().removeprefix("{{").removesuffix("}}")
    try:
        if not expression.strip().endswith("}}"):
            raise ValueError("it does not end with }}")
        return bounded.evaluate(OURS, bare_expression, _names(fields))
    except TooCostly as error:
        raise explain_cost(f"field {expression!r:.200}", where, error) from error
    except Exception as error:  # as above
        raise RowError(
            f"{where}: field {expression!r:.200} does not fit the row: {' '.join(str(error).split())}",
            "that a computed field does not fit",
        ) from error


def explain_cost(what: str, where: str, error: TooCostly) -> DataError:
    """What to raise where a row costs too much; no RowError, since a row that is skipped has cost as much."""
    return DataError(
        f"{where}: {what} costs too much for one row: {error}; write it without large numbers and loops in loops"
    )


def _names(fields: dict[str, Any]) -> dict[str, Any]:
    """What a template knows: the fields by name, and all of them as `row`, for names that hold spaces."""
    names = {str(name): field_value for name, field_value in fields.items()}
    return {"row": names, **names}
