"""A child process that answers jobs: what may end its process, or cost too much, is done there."""

import atexit
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import IO

_START = "import sys; module, sys.path[:] = sys.argv[1], sys.argv[2:]; from pkgutil import resolve_name; resolve_name(module + ':main')()"
"""With the parent's path, wherever it has its packages from."""

_LENGTH = struct.Struct("!Q")

PATIENCE = 0.5
"""Seconds a child has to end by itself once nothing more will be asked of it."""


class ChildEnded(Exception):
    """The child ended in the middle of a job.

    Attributes:
        end: how, "SIGKILL" or "exit code 1".
    """

    def __init__(self, code: int):
        self.end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        super().__init__(self.end)


class Child:
    """The child: started when first needed, again after its end, and ended with this process.

    Args:
        module: whose `main` answers jobs; see `answer_jobs`.
        environment: variables beside this process's own.
    """

    def __init__(self, module: str, environment: dict[str, str] | None = None):
        self.module, self.environment = module, environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def exchange(self, job: bytes) -> bytes:
        """The child's answer to a job.

        Raises:
            ChildEnded: it ended before it answered.
        """
        with self._lock:
            process = self.start()
            assert process.stdin
            assert process.stdout
            try:
                write_frame(process.stdin, job)
                return read_frame(process.stdout)
            except (EOFError, BrokenPipeError) as error:
                raise ChildEnded(self.stop()) from error
            except BaseException:  # an answer that nobody waits for any more would be taken for the next one's
                self.stop()
                raise

    def start(self) -> subprocess.Popen[bytes]:
        """The child, started where there is none."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, self.module, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
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

    def _forget(self) -> None:
        """In a fork of this process: the child is the parent's."""
        self._lock, self._process = Lock(), None


def answer_jobs(answer: Callable[[bytes], bytes]) -> None:
    """In the child: answer jobs from standard input until there are no more, and so no longer than the parent lives."""
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not stand among the answers
    with suppress(EOFError, BrokenPipeError):
        while True:
            write_frame(answers, answer(read_frame(jobs)))


def write_frame(pipe: IO[bytes], content: bytes) -> None:
    """Write bytes behind their number."""
    pipe.write(_LENGTH.pack(len(content)) + content)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes:
    """Bytes that were written behind their number; an EOFError where the other side is gone."""
    head = pipe.read(_LENGTH.size)
    content = pipe.read(*_LENGTH.unpack(head)) if len(head) == _LENGTH.size else b""
    if len(head) < _LENGTH.size or len(content) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return content
