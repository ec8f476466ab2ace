"""Which processes are provably dead."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tapioca.processes import ProcessName


def test_a_living_process_is_not_dead_and_is_read_as_it_was_written() -> None:
    name = ProcessName.of_this()
    assert not name.is_dead
    assert ProcessName.parse(str(name)) == name
    assert name.started > 0


def test_a_process_that_was_killed_is_dead_even_before_its_parent_knows() -> None:
    code = "from tapioca.processes import ProcessName; print(ProcessName.of_this(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        name = ProcessName.parse(process.stdout.readline().strip())
        assert name
        assert not name.is_dead
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        assert name.is_dead
    assert name.is_dead


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        ({"host": "00000000"}, False),  # who knows what runs there
        ({"host": "00000000", "boot": "00000000", "pid": 2**31 - 1}, False),
        ({"boot": "00000000"}, True),  # this machine was started again
        ({"started": 1}, True),  # the number was given to another process
        ({"started": 0}, False),  # nobody said when it began
        ({"pid": 2**31 - 1}, True),
        ({"pid": 9_999_999_999}, True),
    ],
)
def test_what_proves_a_death(change: dict[str, str | int], dead: bool) -> None:
    assert ProcessName.of_this()._replace(**change).is_dead is dead  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1", "12345678-12345678-1", "g2345678-12345678-1-1", "12345678-12345678--1-1"])
def test_other_text_names_no_process(text: str) -> None:
    assert ProcessName.parse(text) is None


def test_a_process_that_is_hidden_from_this_user_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr("tapioca.processes.os.kill", refuse)
    assert not ProcessName.of_this()._replace(pid=2**31 - 1).is_dead  # /proc shows none of that number
