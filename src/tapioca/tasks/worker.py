"""The process in which templates and patterns that may cost much are worked off: under a limit of memory, and of time for each.

It reads jobs from its standard input and writes a reply to each; it ends where its input does, and so with its parent.
It loads jinja2 alone, and for chat templates the part of transformers that renders them.
"""

import pickle
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Self

from jinja2 import Undefined
from markupsafe import Markup

from tapioca.child import answer_jobs
from tapioca.tasks.sandbox import (
    MOST_CHARACTERS,
    TooCostly,
    compile_expression,
    compile_template,
    with_bounded_operators,
)

SECONDS = 5
"""Computing time of one template on one row."""

MEMORY = 1 << 30
"""Bytes of address space of the process."""


def main(seconds: float = SECONDS) -> None:
    """Answer jobs until there are no more, each within so many seconds of computing."""
    limit_memory()
    answer_jobs(lambda job: _reply(job, seconds))


def limit_memory() -> None:
    """Let the kernel refuse this process more memory than it may have, where it can."""
    with suppress(ImportError, ValueError, OSError):  # there is no such limit on every system
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _reply(job: bytes, seconds: float) -> bytes:
    """How a job ended, and with what: `done`, `failed` by an error of the template, or `costly`."""
    try:
        kind, *arguments = pickle.loads(job)  # the parent's own, which holds dates and the like
        if kind == "chat":
            _load_chat_templates()  # not on the row's account
        with time_limit(seconds):
            return pickle.dumps(("done", JOBS[kind](*arguments)))
    except MemoryError:
        return pickle.dumps(("costly", f"it needs more than {MEMORY >> 20} MiB of memory"))
    except TooCostly as error:
        return pickle.dumps(("costly", str(error)))
    except Exception as error:  # a template is a small program and can raise anything
        return pickle.dumps(("failed", " ".join(str(error).split())))


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """The kernel ends the process where the block computes for longer, even inside one call of C; where it can."""
    timer = getattr(signal, "setitimer", None)
    if timer:
        timer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        if timer:
            timer(signal.ITIMER_PROF, 0)


def _render(environment: str, template: str, fields: dict[str, Any]) -> str:
    return check_length(compile_template(environment, template)(**fields))


def _evaluate(environment: str, expression: str, fields: dict[str, Any]) -> Any:
    value = compile_expression(environment, expression)(**fields)
    if isinstance(value, Undefined):
        raise ValueError(f"there is no {expression.strip()}")
    return check_length(str(value) if isinstance(value, Markup) else value)


def _find(pattern: str, text: str) -> list[Any]:
    """What a regular expression finds, of which one that backtracks may take for ever."""
    return [match[1] if match.re.groups else match[0] for match in re.finditer(pattern, text)]


def _render_chat(arguments: dict[str, Any], day: str) -> tuple[Any, bool]:
    """What transformers' `render_jinja_template` returns on a day, and whether the template asked for the time."""
    module, clock = _load_chat_templates(), _stop_clock(day)
    clock.was_asked = False
    module.datetime = clock
    rendered = module.render_jinja_template(**arguments)
    for text in rendered[0]:
        check_length(text)
    return rendered, clock.was_asked


@lru_cache(maxsize=1)
def _stop_clock(day: str) -> Any:
    """A class that tells the time as `datetime` does: midnight of a day, always."""
    midnight = date.fromisoformat(day)

    class Stopped(datetime):
        was_asked = False

        @classmethod
        def now(cls, tz: Any = None) -> Self:
            cls.was_asked = True
            return cls(midnight.year, midnight.month, midnight.day, tzinfo=tz)

    return Stopped


@lru_cache(maxsize=1)
def _load_chat_templates() -> Any:
    from transformers.utils import chat_template_utils

    module: Any = chat_template_utils
    module.ImmutableSandboxedEnvironment = with_bounded_operators(module.ImmutableSandboxedEnvironment)
    return module


def check_length(value: Any) -> Any:
    """The value, if it is no text longer than any prompt."""
    if isinstance(value, str | list | tuple) and len(value) > MOST_CHARACTERS:
        raise TooCostly(f"it makes more than {MOST_CHARACTERS:,} characters")
    return value


JOBS: dict[str, Callable[..., Any]] = {"render": _render, "evaluate": _evaluate, "find": _find, "chat": _render_chat}
