"""What templates may do: jinja2's sandbox, operators that refuse huge results, and which templates cannot cost much."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from jinja2 import StrictUndefined, nodes
from jinja2.environment import Environment
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

MOST_CHARACTERS = 10_000_000
"""Longest text a template may write, and longest text, list or number of digits one of its operators may make."""

COSTLY_OPERATORS = frozenset({"%", "*", "**"})
"""Operators whose result may be far larger than what they are given."""

PLAIN_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.If, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Filter,
    nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg, nodes.List, nodes.Tuple,
)  # fmt: skip
"""What a template may consist of if its cost is to grow with its length and its fields alone: nothing that repeats, calls,
or gives a name to what it made."""

PLAIN_FILTERS = frozenset(
    {"trim", "upper", "lower", "capitalize", "title", "length", "count", "first", "last", "string", "int", "float"}
)
PLAIN_LENGTH = 10_000
"""Longest template that is looked at, since reading one takes time too."""

AnyEnvironment = TypeVar("AnyEnvironment", bound=type[SandboxedEnvironment])


class TooCostly(Exception):
    """A template needs more than a row may cost; says what."""


def with_bounded_operators(sandbox: AnyEnvironment) -> AnyEnvironment:
    """A sandbox whose operators refuse with `TooCostly` to make what is huge, and make nothing while a template is compiled."""

    class Bounded(sandbox):  # type: ignore[misc, valid-type]  # the class is an argument
        intercepted_binops = COSTLY_OPERATORS

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if _estimate_size(operator, left, right) > MOST_CHARACTERS:
                raise TooCostly(f"its operator {operator} would make more than {MOST_CHARACTERS:,} characters")
            return super().call_binop(context, operator, left, right)

    return Bounded  # type: ignore[return-value]


def _estimate_size(operator: str, left: Any, right: Any) -> int:
    """At least so many characters, items or bits are in the result of an operator."""
    if operator == "%":
        return _find_width(left, right) if isinstance(left, str | bytes) else 0
    if operator == "**":
        return left.bit_length() * max(right, 0) if isinstance(left, int) and isinstance(right, int) else 0
    for many, times in ((left, right), (right, left)):
        if isinstance(many, str | bytes | list | tuple) and isinstance(times, int):
            return len(many) * times
    return left.bit_length() + right.bit_length() if isinstance(left, int) and isinstance(right, int) else 0


def _find_width(text: str | bytes, values: Any) -> int:
    """The largest width or precision a format asks for, one that stands among the values included."""
    formats = re.findall(r"%[^%a-zA-Z]*", text if isinstance(text, str) else text.decode("latin-1"))
    widths = [int(digits) for part in formats for digits in re.findall(r"\d+", part)]
    if any("*" in part for part in formats):
        widths += [
            abs(value) for value in (values if isinstance(values, tuple) else (values,)) if isinstance(value, int)
        ]
    return max(widths, default=0)


def _refuse_no_text(field_value: Any) -> Any:
    """Refuse to print what is no text: None and lists in a prompt are mistakes."""
    if field_value is None or isinstance(field_value, (list, dict)):
        raise ValueError(f"it would print {field_value!r:.60}")
    return field_value


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    """The filter that lm-eval gives its templates."""
    return re.sub(pattern, repl, string, count=count)


_Sandbox = with_bounded_operators(SandboxedEnvironment)
ENVIRONMENTS: dict[str, Environment] = {
    "rows": _Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_refuse_no_text),
    "lm-eval": _Sandbox(undefined=StrictUndefined, keep_trailing_newline=True),
}
"""By whose templates they are: this package's own; and lm-eval's, whose own environment is the same without a sandbox."""

ENVIRONMENTS["lm-eval"].filters["regex_replace"] = _regex_replace


@lru_cache(maxsize=256)
def is_plain(environment: str, template: str) -> bool:
    """Whether a template's cost grows with its length and its fields alone; one that cannot be read is plain, as it fails."""
    if len(template) > PLAIN_LENGTH:
        return False
    try:
        tree = ENVIRONMENTS[environment].parse(template)
        return all(map(_is_plain_node, tree.find_all(nodes.Node)))
    except Exception:  # jinja2's own, or that of nesting too deep
        return True


def _is_plain_node(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.Filter):
        return isinstance(node, PLAIN_NODES)
    bare = not (node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)
    return node.name in ("default", "d") or (node.name in PLAIN_FILTERS and bare)


@lru_cache(maxsize=64)
def compile_template(environment: str, template: str) -> Callable[..., str]:
    """What renders a template from fields by name."""
    return ENVIRONMENTS[environment].from_string(template).render


@lru_cache(maxsize=64)
def compile_expression(environment: str, expression: str) -> Callable[..., Any]:
    """What gives the value of an expression from fields by name; an `Undefined` where a name is not there."""
    return ENVIRONMENTS[environment].compile_expression(expression, undefined_to_none=False)
