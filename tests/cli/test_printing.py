"""Names and texts are printed as they are, and a console that takes nothing ends in one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import tapioca
from tapioca.cli.failures import report_failure
from tapioca.cli.main import main
from tapioca.errors import UsageError
from tapioca.report.screen import LiveScreen
from tapioca.report.tables import TableBlock, plain, print_block, print_line

NAMES = ["run[v2]", "[/b]", "[red]x", "[link=http://x]y[/link]", "a\\[b]", "[@click=f()]z", "\\"]


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(width=300, force_terminal=False)


@pytest.mark.parametrize("name", NAMES)
def test_square_brackets_are_no_markup(name: str, console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    print_line(console, f"wrote {name}", (f"; {name}", "dim"))
    print_block(console, TableBlock(name, (name, "n"), ((name, f"1\n{name}"), (name,))))
    print_block(Console(width=5), TableBlock("", (name, "n"), ((name, name),)))
    with LiveScreen(console, has_bar=False) as screen:
        screen.stage(name, 2)
        screen.status(name)
        screen.note(name)
    printed = capsys.readouterr().out
    assert printed.startswith(f"wrote {name}; {name}\n{name}\n{name}")
    assert f"· {name}\n" in printed
    assert str(plain(name)) == name


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_bar_with_square_brackets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=300, force_terminal=True, color_system=None)
    with LiveScreen(console, has_bar=True) as screen:
        screen.stage(name, 2)
        screen.status(name)
        screen.advance(1)
    assert name in capsys.readouterr().out


def test_control_characters_do_not_reach_a_terminal(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    print_line(console, "a\x1b[2Jb\x9bc\u202ed\ne")
    assert capsys.readouterr().out == "a\ufffd[2Jb\ufffdc\ufffdd\ne\n"


def test_a_run_with_brackets_in_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    task = ["--task", "lab:context_noise=0.2,n=32"]
    assert main(["prune", "learner", *task, "--out", "run[v2]", "--random-plans", "1", "--limit", "16"]) == 0
    assert "report    run[v2]/report.html" in capsys.readouterr().out
    assert main(["report", "gone[/b]"]) == 2
    assert capsys.readouterr().err.startswith("error: gone[/b] has no run.json")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            MemoryError("Unable to allocate 3 GiB"),
            "out of memory (Unable to allocate 3 GiB); use a smaller --batch-size",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            "out of memory (DefaultCPUAllocator: can't",
        ),
        (OSError(36, "File name too long", "a" * 300), f"cannot use {'a' * 300}: File name too long"),
        (PermissionError(13, "Permission denied", b"x"), "cannot use x: Permission denied"),
        (UsageError("a\nb has no run.json"), "a b has no run.json\n"),
    ],
)
def test_what_this_machine_lacks_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(error) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_a_fault_of_the_program_is_none_of_the_users() -> None:
    with pytest.raises(ZeroDivisionError):
        report_failure(ZeroDivisionError())


def test_a_developer_sees_what_led_to_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes(b"\xff")
    argv = ["generate", "learner", "--plan", str(plan), "--prompt", "x"]
    line = f"error: cannot read {plan}: it is not UTF-8 text (byte 0)\n"
    assert (main(argv), capsys.readouterr().err) == (2, line)
    monkeypatch.setenv("TAPIOCA_DEBUG", "1")
    assert main(argv) == 2
    traceback = capsys.readouterr().err
    assert traceback.endswith(line)
    assert "The above exception was the direct cause" in traceback
    assert "UnicodeDecodeError" in traceback


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_and_a_closed_output() -> None:
    command = [sys.executable, "-m", "tapioca", "tasks"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "error: cannot print: No space left on device; send what is printed elsewhere\n"
    assert (ended.returncode, ended.stderr) == (2, said)
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_no_screen_prints_markup_of_its_own() -> None:
    sources = {path: path.read_text() for path in Path(tapioca.__file__).parent.rglob("*.py")}
    markup = re.compile(r"rich\.markup|\[/\]|\[(bold|dim|red|yellow|green)\b[^\]]*\]|console\.print\((f?[\"']|str)")
    assert [str(path) for path, text in sources.items() if markup.search(text)] == []
