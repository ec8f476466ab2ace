"""A command that a test runs in a folder of its own, stops and runs again."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
from reliability.comparable import describe_folder

PROMPTS = [
    *("--task", "lab:target_offset=2,n=96", "--reference", "lab:id,n=96"),
    *("--batch-size", "4", "--random-plans", "2"),
]
"""Data of a command, small enough for many lives."""


class Lives:
    """A command in a folder of its own, run as often as a test likes."""

    def __init__(self, folder: Path, line: list[str]):
        self.folder, self.line = folder, line
        for name in ("tmp", "answers"):
            (folder / name).mkdir(parents=True)

    def begin(self) -> int:
        """In a process that is no fork: this one may have spoken to Ray, which a fork of it cannot any more."""
        script = "import sys; from pathlib import Path; from reliability.life import live; live(sys.argv[2:], Path(sys.argv[1]))"
        command = [sys.executable, "-c", script, str(self.folder), *self.line]
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return os.posix_spawn(sys.executable, command, environment)

    def wait_for_answers(self, count: int, process: int) -> None:
        """Until so many are stored, while the command goes on."""
        self.wait_until(lambda: self._count_answers() >= count, process)

    def wait_until(self, condition: Callable[[], bool], process: int) -> None:
        """Until a condition holds, while the command goes on."""
        while not condition():
            assert psutil.Process(process).status() != psutil.STATUS_ZOMBIE, self.log()
            time.sleep(0.02)

    def _count_answers(self) -> int:
        path = self.folder / "out" / "run.sqlite"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path)) as db, closing(db.cursor()) as cursor:
            tables = [name for (name,) in cursor.execute("SELECT name FROM sqlite_master")]
            return int(cursor.execute("SELECT count(*) FROM answers").fetchone()[0]) if "answers" in tables else 0

    def list_processes(self) -> list[str]:
        """What runs that a life began, itself too: all have its folder for temporary files."""
        lines = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has just ended, or is another user's
                if process.environ().get("TMPDIR") == str(self.folder / "tmp"):
                    lines.append(" ".join(process.cmdline()))
        return lines

    def end(self, process: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def describe(self) -> dict[str, Any]:
        described = describe_folder(self.folder)
        return {name: described[name] for name in described if Path(name).parts[0] == "out"}

    def list_answers(self) -> Counter[str]:
        """Every answer that was stored, by any life, and how often."""
        return Counter(line for notes in (self.folder / "answers").iterdir() for line in notes.read_text().splitlines())
