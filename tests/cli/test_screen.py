"""What a command shows while it works: lines where there is no terminal, a bar in one, and a log file."""

from __future__ import annotations

import re
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import tapioca
from tapioca.cli.main import main
from tapioca.report import progress_lines
from tapioca.report.progress_lines import ProgressLines, open_log
from tapioca.report.screen import open_screen

COMMAND = ["geometry", "learner", "--task", "lab:context_noise=0.2", "--reference", "lab:id", "--limit", "32"]
TIME = r"\d\d:\d\d:\d\d "


def test_without_a_terminal_lines_go_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--out", str(tmp_path / "run"), "--verbose"]) == 0
    printed = capsys.readouterr()
    lines = [re.sub(f"^{TIME}", "", line) for line in printed.err.splitlines()]
    assert lines[:2] == ["loading learner", "reading the data"]
    assert all(re.match(TIME, line) for line in printed.err.splitlines())
    assert "loading learner" not in printed.out
    assert "norm" in printed.out


def test_a_log_file_has_progress_notes_and_the_end_behind_what_it_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    options = ["--out", str(tmp_path / "run"), "--quiet", "--log-file", str(log)]
    assert main([*COMMAND, *options]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # quiet
    assert "· 8 layers at body.layers" in printed.out
    assert main([*COMMAND, *options, "--seed", "1"]) == 2
    first, *lines = log.read_text().splitlines()
    assert first == "before"
    assert all(re.match(rf"\d\d\d\d-\d\d-\d\d {TIME}", line) for line in lines)
    texts = [line[20:] for line in lines]
    assert texts[:2] == [f"tapioca {tapioca.__version__}", "loading learner"]
    assert "8 layers at body.layers" in texts
    assert texts.count("done") == 1
    assert texts[-1].startswith("stopped: StoreError: ")
    assert "belongs to another run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "no/folder/log.txt", "f" * 300])
def test_a_log_file_that_cannot_be_written(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "learner", "--log-file", str(tmp_path / name)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: cannot write {tmp_path / name}: ")
    assert message.endswith("; name another file with --log-file\n")


def test_a_log_on_a_full_disk_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "learner", "--log-file", "/dev/full"]) == 2
    expected = "error: cannot write /dev/full: No space left on device; name another file with --log-file\n"
    assert capsys.readouterr().err == expected


def test_a_disk_that_fills_ends_the_log_and_not_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.txt"
    with open_log(path) as write:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        with limit_file_size(path.stat().st_size):
            write("one")
            write("two")
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    assert capsys.readouterr().err == f"cannot write {path}: File too large; going on\n"
    assert [line[20:] for line in path.read_text().splitlines()] == [f"tapioca {tapioca.__version__}", "done"]


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_line_says_how_far_a_stage_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: clock[0])
    lines: list[str] = []
    progress = ProgressLines(lines.append, interval=30.0, writes_all=False)
    progress.stage("round 1: 8 plans", 1000)
    assert progress.describe() == "round 1: 8 plans, 0 of 1,000"
    clock[0] = 30.0
    progress.advance(300)
    progress.status("best so far: drop 2")
    assert progress.describe() == "round 1: 8 plans, 300 of 1,000, about 70 s left, best so far: drop 2"
    progress.stage("geometry", 0)
    assert progress.describe() == "geometry, best so far: drop 2"
    assert not lines


def test_a_stage_whose_first_step_takes_long_is_told_of() -> None:
    lines: list[str] = []
    with ProgressLines(lines.append, interval=0.02, writes_all=False) as progress:
        progress.stage("loading a model", 0)
        while len(lines) < 2:
            time.sleep(0.01)
    assert set(lines) == {"loading a model"}
    count = len(lines)
    time.sleep(0.1)
    assert len(lines) == count


def test_a_terminal_shows_a_bar_and_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100, color_system=None)
    with open_screen(console) as screen:
        screen.stage("round [1]", 10)
        screen.status("best so far: [b]drop 2[/b]")
        screen.advance(5)
    for text in ("round [1]", "5/10", "best so far: [b]drop 2[/b]"):
        assert text in console.file.getvalue()
    assert capsys.readouterr().err == ""
