"""Signals: what asks a process to end is heard at any time, tidied up after, and told in one line."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tapioca.cli.signals import SIGNALS, interruptible
from tapioca.commands import COMMANDS
from tapioca.errors import StoreError

EACH = pytest.mark.parametrize("number", SIGNALS)


@pytest.fixture(autouse=True)
def heard_signals() -> Iterator[None]:
    """Whoever started the tests may have had signals ignored (nohup, a shell's background); here none is."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop(kept: str, work: Any) -> int:
    """The exit code of a request that is stopped."""
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(SystemExit) as caught, interruptible(kept):
        work()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert isinstance(caught.value.code, int)
    return caught.value.code


@EACH
def test_a_signal_stops_a_request_and_says_what_is_kept(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    tidied: list[int] = []

    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            tidied.append(number)

    assert stop("half of it is stored", work) == 128 + number
    assert capsys.readouterr().err == "stopped; half of it is stored, and the same command goes on from there\n"
    assert stop("", work) == 128 + number
    assert capsys.readouterr().err == "stopped; no result was written\n"
    assert tidied == [number, number]


def send_many() -> None:
    """A signal, and five more while it is handled."""
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number in (signal.SIGTERM, *SIGNALS, signal.SIGTERM):
            signal.raise_signal(number)


def translate() -> None:
    """What other libraries make of it."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        raise ImportError("initialization failed") from None


class Fragile:
    """Asked to end while Python takes this apart, where no exception gets through."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def take_apart() -> None:
    Fragile()
    threading.Event().wait(20)


@pytest.mark.parametrize("work", [send_many, translate, take_apart])
def test_however_it_comes_it_is_one_line(work: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop("all is stored", work) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "stopped; all is stored, and the same command goes on from there\n"


def test_an_error_of_tidying_up_is_told_instead(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise StoreError("cannot write training.pt: no space")

    with pytest.raises(StoreError, match=r"cannot write training\.pt: no space"), interruptible("it is stored"):
        work()
    assert capsys.readouterr().err == ""


def test_errors_without_a_signal_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError


def test_what_the_caller_wants_ignored_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_ask_for_no_signals() -> None:
    results: list[int] = []

    def work() -> None:
        with interruptible():
            results.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [1]


def test_what_commands_keep_is_what_they_store() -> None:
    kept = {name: command.kept for name, command in COMMANDS.items() if command.kept}
    batches = dict.fromkeys(
        ("prune", "compensate", "compare", "enumerate", "scale", "rescale", "versus"), "every finished batch is stored"
    )
    others = {
        "study": "every finished measurement is stored",
        "heal": "the training's last checkpoint and every finished batch are stored",
        "bench": "every size that is timed is stored",
    }
    assert kept == {**batches, **others}


def run_program(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a process of the program does, of which nothing is loaded but what hears signals."""
    begin = "import signal, sys, time\nfrom tapioca.cli.signals import *\nhandle_signals(end_at_once)\n"
    return subprocess.run([sys.executable, "-c", begin + code], text=True, **options)


@EACH
def test_before_a_request_is_worked_on_a_signal_ends_the_process(number: int) -> None:
    done = run_program(f"signal.raise_signal({int(number)}); print('went on')", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "stopped\n")


def test_a_second_signal_ends_what_tidies_up_too_long() -> None:
    code = (
        "with interruptible():\n    try: signal.raise_signal(15)\n"
        "    finally:\n        time.sleep(1.1); signal.raise_signal(2); print('went on')"
    )
    done = run_program(code, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def read_to_end(terminal: int) -> str:
    """All that was shown: a pseudo-terminal hands it over in pieces, as a process in the background gets around to it."""
    pieces = b""
    with os.fdopen(terminal, "rb", buffering=0) as file, suppress(OSError):  # Linux ends with an error, macOS without
        while piece := file.read(1000):
            pieces += piece
    return pieces.decode()


def test_a_terminal_gets_its_cursor_back() -> None:
    ours, theirs = pty.openpty()
    done = run_program("sys.stdout.write('\\x1b[?25l'); sys.stdout.flush(); signal.raise_signal(15)", stdout=theirs, stderr=theirs)  # fmt: skip
    os.close(theirs)
    shown = read_to_end(ours)
    assert done.returncode == 143
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h")
    assert shown.endswith("stopped\r\n")


def test_what_hears_signals_loads_next_to_nothing() -> None:
    code = "import sys; import tapioca.__main__; assert not {'typer', 'rich', 'numpy', 'psutil', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
