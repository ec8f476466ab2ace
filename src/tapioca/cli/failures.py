"""What is said of an error: one line for a mistake or a lack on this machine, a traceback for a fault of this program."""

import errno
import os
import sys
import traceback
from contextlib import suppress

from rich.console import Console

from tapioca.errors import TapiocaError, first_line, is_out_of_memory
from tapioca.report.tables import print_line

DEBUG = "TAPIOCA_DEBUG"
"""Environment variable with which the traceback of every error is shown, and of what led to it."""

NOBODY_READS = 1
"""The exit code where the reader of what is printed has gone, as rich has it."""


def report_failure(error: Exception) -> int:
    """Print what is to be said of an error and return the exit code; a fault of this program is raised again."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is None:
        _give_up_printing()
        if error.errno == errno.EPIPE:
            return NOBODY_READS
    line = _explain(error)
    if line is None:
        raise error
    if line:
        with suppress(OSError):  # nobody reads standard error either
            print_line(Console(stderr=True), ("error:", "red"), f" {' '.join(line.splitlines())}")
    return 2


def _explain(error: Exception) -> str | None:
    """The line for an error, empty where all is said; None for a fault of this program."""
    if isinstance(error, TapiocaError):
        return str(error)
    if is_out_of_memory(error):
        return f"out of memory ({first_line(error):.200}); use a smaller --batch-size or --limit, or --dtype bfloat16"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {os.fsdecode(error.filename)}: {error.strerror or error}"
    if isinstance(error, OSError):
        return f"cannot print: {error.strerror or error}; send what is printed elsewhere"
    if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message"):
        command = getattr(getattr(error, "ctx", None), "command_path", "tapioca")
        text = error.format_message()
        return f"{text.rstrip('.')}; see {command} --help" if text else ""
    return None


def _give_up_printing() -> None:
    """Let what is still to be printed go nowhere, since the interpreter tries again at its end."""
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
