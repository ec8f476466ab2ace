"""Write docs/cli.md from the program's own help, so that the reference cannot drift. `--check` only compares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMANDS = ([], ["prune"], ["report"], ["export"], ["demo"], ["lab"], ["lab", "train"])
TARGET = Path(__file__).with_name("cli.md")


def page() -> str:
    """The help of every command, as one Markdown page."""
    parts = ["# Command reference\n\nMade by `make docs` from `tapioca --help`.\n"]
    for command in COMMANDS:
        words = ["tapioca", *command]
        plain = {**os.environ, "COLUMNS": "110", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "110"}
        done = subprocess.run(
            [sys.executable, "-m", *words, "--help"], capture_output=True, text=True, check=True, env=plain
        )
        text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        parts.append(f"## {' '.join(words)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == page() else "docs/cli.md is out of date; run make docs")
    TARGET.write_text(page(), encoding="utf-8")
