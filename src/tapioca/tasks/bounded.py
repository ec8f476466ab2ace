"""Templates rendered within bounds: plain ones here, all others in a child process that may not cost more than it is given."""

import atexit
import io
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import Any

from jinja2 import Undefined

from tapioca.tasks.sandbox import TooCostly, compile_expression, compile_template, is_plain
from tapioca.tasks.worker import SECONDS, read_frame, write_frame

_START = "import sys; sys.path[:] = sys.argv[1:]; from tapioca.tasks.worker import main; main()"
"""With the parent's path, wherever it has its packages from."""

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""A pool of threads reserves more address space than the child may have."""

PLAIN_CLASSES = {*(("datetime", name) for name in ("date", "datetime", "time", "timedelta")), ("decimal", "Decimal")}
"""Classes of values beside Python's own types that a computed field may have."""

PATIENCE = 0.5
"""Seconds a child has to end by itself once nothing more will be asked of it."""


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
    return str(_WORKER.ask("render", environment, template, fields))


def evaluate(environment: str, expression: str, fields: dict[str, Any]) -> Any:
    """What an expression over fields gives: a text, a number, or a list of such; raises as `render` does."""
    if not is_plain(environment, f"{{{{{expression}}}}}"):
        return _WORKER.ask("evaluate", environment, expression, fields)
    value = compile_expression(environment, expression)(**fields)
    if isinstance(value, Undefined):
        raise ValueError(f"there is no {expression.strip()}")
    return value


class _Worker:
    """The child: started when first needed, again after its end, and ended with this process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def ask(self, *job: Any) -> Any:
        """What the child makes of a job, one of `worker.JOBS` and its arguments; raises as `render` does."""
        content = pickle.dumps(job)
        with self._lock:
            outcome, value = self._exchange(content)
        if outcome == "costly":
            raise TooCostly(value)
        if outcome == "failed":
            raise TemplateFailed(value)
        return value

    def _exchange(self, job: bytes) -> tuple[str, Any]:
        process = self.start()
        assert process.stdin
        assert process.stdout
        try:
            write_frame(process.stdin, job)
            outcome, value = _PlainValues(io.BytesIO(read_frame(process.stdout))).load()
            return outcome, value
        except (EOFError, BrokenPipeError):
            return "costly", _explain_end(self.stop())
        except BaseException:  # a reply that nobody waits for any more would be taken for the next one's
            self.stop()
            raise

    def start(self) -> subprocess.Popen[bytes]:
        """The child, started where there is none."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        return self._process

    def stop(self) -> int:
        """End the child, if there is one, and say how it ended."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in filter(None, (process.stdin, process.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def forget(self) -> None:
        """In a fork of this process: the child is the parent's."""
        self._lock, self._process = Lock(), None


class _PlainValues(pickle.Unpickler):
    """Reads what the child sends: made of texts, numbers, lists and the like, dates, and no other class, so that reading
    it runs no code, whatever a template did to the child."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN_CLASSES:
            return super().find_class(module, name)
        raise TemplateFailed(f"it gives a {module}.{name}; expected a text, a number or a list of them")


def _explain_end(code: int) -> str:
    """Why the child ended in the middle of a job, by its exit code."""
    end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return (
        f"it computes for more than {SECONDS} s" if end == "SIGPROF" else f"the process that renders it ended ({end})"
    )


_WORKER = _Worker()
atexit.register(_WORKER.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WORKER.forget)
ask, start, stop = _WORKER.ask, _WORKER.start, _WORKER.stop
