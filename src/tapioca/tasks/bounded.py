"""Templates rendered within bounds: plain ones here, all others in a child process that may not cost more than it is given."""

import io
import pickle
from typing import Any

from jinja2 import Undefined

from tapioca.child import Child, ChildEnded
from tapioca.tasks.sandbox import TooCostly, compile_expression, compile_template, is_plain
from tapioca.tasks.worker import SECONDS

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""A pool of threads reserves more address space than the child may have."""

PLAIN_CLASSES = {*(("datetime", name) for name in ("date", "datetime", "time", "timedelta")), ("decimal", "Decimal")}
"""Classes of values beside Python's own types that a computed field may have."""

CHILD = Child("tapioca.tasks.worker", _ONE_THREAD)


class TemplateFailed(Exception):
    """A template that does not fit a row; says why."""


def render(environment: str, template: str, fields: dict[str, Any]) -> str:
    """A template over fields by name.

    Args:
        environment: whose template it is, a key of `ENVIRONMENTS`.
        template: in the language of jinja2.
        fields: by name.

    Raises:
        TooCostly: it takes more time or memory than a row may, or writes more than any prompt.
        Exception: anything else that it raises.
    """
    if is_plain(environment, template):
        return compile_template(environment, template)(**fields)
    return str(ask("render", environment, template, fields))


def evaluate(environment: str, expression: str, fields: dict[str, Any]) -> Any:
    """What an expression over fields gives: a text, a number, or a list of such; raises as `render` does."""
    if not is_plain(environment, f"{{{{{expression}}}}}"):
        return ask("evaluate", environment, expression, fields)
    value = compile_expression(environment, expression)(**fields)
    if isinstance(value, Undefined):
        raise ValueError(f"there is no {expression.strip()}")
    return value


def ask(*job: Any) -> Any:
    """What the child makes of a job, one of `worker.JOBS` and its arguments; raises as `render` does."""
    try:
        outcome, value = _PlainValues(io.BytesIO(CHILD.exchange(pickle.dumps(job)))).load()
    except ChildEnded as end:
        is_late = end.end == "SIGPROF"
        reason = f"it computes for more than {SECONDS} s" if is_late else f"the process that renders it ended ({end})"
        raise TooCostly(reason) from end
    if outcome == "costly":
        raise TooCostly(value)
    if outcome == "failed":
        raise TemplateFailed(value)
    return value


class _PlainValues(pickle.Unpickler):
    """Reads what the child sends: made of texts, numbers, lists and the like, dates, and no other class, so that reading
    it runs no code, whatever a template did to the child."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN_CLASSES:
            return super().find_class(module, name)
        raise TemplateFailed(f"it gives a {module}.{name}; expected a text, a number or a list of them")
