"""Run the commands of a page's console blocks in a copy of the repository, and compare what they print with the page.

    python docs/console.py [PAGE]     # README.md unless said

Only commands that the page shows the output of are run, in the page's order, and none with a placeholder (`...`, MODEL).
Differences are printed as a diff, and the exit status is then 1. Standard error, where progress is shown, is not compared.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROMPT = "$ "
PLACEHOLDER = re.compile(r"\.\.\.|\bMODEL\b")
NARROW = 80
"""Columns of a screen that nobody looks at."""


def copy_repository(folder: Path) -> None:
    """Copy what git knows or would add, and make `.venv` there the environment that runs this script."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, folder / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv" / ".ready").touch()  # newer than the copies: `make` has nothing to install


def environment(folder: Path, columns: int) -> dict[str, str]:
    """The variables of a quiet console of a given width that runs the program of the copy."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "PYTHONUTF8": "1",
        "COLUMNS": str(columns),
        "HF_HUB_OFFLINE": "1",
        "MAKEFLAGS": "--silent",  # pages show what a recipe prints, not the recipe
    }


def read_command(lines: list[str]) -> tuple[str, list[str]]:
    """Take a command with its continued lines from the front of a block; returns it and the lines behind it."""
    count = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
    return "\n".join(lines[:count]).removeprefix(PROMPT), lines[count:]


def count_shown(lines: list[str], printed: list[str]) -> int:
    """How many lines are a command's output: up to the next prompt that the command has not printed itself."""
    return next(
        (number for number, line in enumerate(lines) if line.startswith(PROMPT) and line not in printed), len(lines)
    )


def compare_block(block: str, folder: Path) -> Iterator[str]:
    """Run a block's commands and yield the lines in which their output differs."""
    lines = block.splitlines()
    columns = max((len(line) for line in lines if line.startswith("╭")), default=NARROW)
    while lines:
        command, lines = read_command(lines)
        if PLACEHOLDER.search(command) or not lines or lines[0].startswith(PROMPT):
            lines = lines[count_shown(lines, []) :]
            continue
        print(PROMPT + command, flush=True)
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment(folder, columns), capture_output=True, encoding="utf-8"
        )
        printed = [line.rstrip() for line in done.stdout.splitlines()]
        count = count_shown(lines, printed)
        yield from difflib.unified_diff(lines[:count], printed, "page", command, lineterm="")
        if done.returncode:
            yield f"exit status {done.returncode}: {done.stderr.strip()}"
        lines = lines[count:]


def main(page: Path) -> int:
    """Compare every console block of a page; returns the exit status."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "clone"
        copy_repository(folder)
        differences = [line for block in blocks for line in compare_block(block, folder)]
    print("\n".join(differences) if differences else f"{page.name}: as printed")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "README.md"))
