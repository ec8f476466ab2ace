"""A life of a command: a fork of this process that runs a command line in a folder as the program would."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any


def begin_life(arguments: list[str], folder: Path) -> int:
    """Begin a command in a folder, which has folders `tmp` and `answers`; returns its process."""
    process = os.fork()
    if not process:
        live(arguments, folder)
    return process


def live(arguments: list[str], folder: Path) -> None:
    """The rest of this process is the command."""
    try:
        os.setsid()
        os.chdir(folder)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
        redirect_output("log")
        fork_instead_of_starting()
        note_answers()
        os._exit(run_program(arguments))
    except BaseException:
        traceback.print_exc()
        os._exit(99)


def redirect_output(name: str) -> None:
    log = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)


def run_program(arguments: list[str]) -> int:
    """What the console script does."""
    from tapioca.cli.main import main
    from tapioca.cli.signals import end_at_once, handle_signals

    handle_signals(end_at_once)
    code = main(arguments)
    sys.stdout.flush()
    return code


def note_answers() -> None:
    """Have every answer that is stored noted in a file of this process, with the folder of its store."""
    from tapioca.runs.store import Store

    record, notes = Store.record, Path("answers", str(os.getpid()))

    def record_and_note(store: Store, plan: Any, batch: str, *more: Any) -> None:
        record(store, plan, batch, *more)
        with notes.open("a") as file:
            file.write(f"{store.folder} {plan.digest} {batch}\n")

    Store.record = record_and_note  # type: ignore[method-assign]


def fork_instead_of_starting() -> None:
    """Have the processes that a command begins forked too, so that they need not import anything."""
    import tapioca.checkpoints.verify

    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda kind=None: fork  # type: ignore[assignment,misc]
    tapioca.checkpoints.verify.subprocess = ForkedPython  # type: ignore[attr-defined]


class ForkedPython:
    """Stands where `subprocess` does in a module that runs a script."""

    @staticmethod
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `[python, script, *arguments]`; what it prints is lost."""
        process = os.fork()
        if not process:
            redirect_output(os.devnull)
            sys.argv = command[1:]
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            finally:
                os._exit(sys.exc_info()[0] is not None)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        except KeyboardInterrupt:
            os.kill(process, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, code, "", "")
