"""Consoles of any encoding: every command ends well, and what they cannot show reads on in ASCII."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines

from tapioca.cli.consoles import make_printable

COMMANDS = """
import sys
from pathlib import Path
from tapioca.cli.main import main
model, task, out = sys.argv[1:]
for argv in (
    ["prune", model, "--task", task, "--out", out, "--score", "likelihood", "--max-drops", "1", "--random-plans", "1"],
    ["prune", model, "--task", task, "--dry-run"],
    ["tasks", task, "--model", model],
    ["report", out],
    ["inspect", model],
    ["tasks"],
    ["lab", "shifts"],
    ["prune", "--help"],
):
    assert main(argv) == 0, argv
assert main(["report", "\\u2192 folder"]) == 2
"""
CONSOLES = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("console", CONSOLES)
def test_every_command_ends_well(console: str, model_folder: Path, tmp_path: Path) -> None:
    rows = [{**row, "context": row["context"] + " Ġ → “é” 日 ‖ ×"} for row in choice_rows(40)]
    task = write_lines(tmp_path / "task.jsonl", rows)
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(model_folder), str(task), str(tmp_path / "run")],
        capture_output=True,
        env={**os.environ, **CONSOLES[console]},
    )
    encoding = {"C locale": "ascii"}.get(console, console)
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 0, err
    assert " -> " in out
    assert "Traceback" not in err
    assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "drop 2–3: 41 % → 35 %, × 0.5 ␣a Ġ é 日 √σ ≤ ✓"),
        ("cp1252", "drop 2–3: 41 % -> 35 %, × 0.5 _a G é ? sqrt sigma <= yes"),
        ("latin-1", "drop 2-3: 41 % -> 35 %, × 0.5 _a G é ? sqrt sigma <= yes"),
        ("ascii", "drop 2-3: 41 % -> 35 %, x 0.5 _a G e ? sqrt sigma <= yes"),
        ("gbk", "drop 2–3: 41 % → 35 %, × 0.5 _a G é 日 √σ ≤ yes"),
        ("shift_jis", "drop 2-3: 41 % → 35 %, × 0.5 _a G e 日 √σ <= yes"),
    ],
)
def test_what_an_encoding_lacks_reads_on(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    make_printable()
    print("drop 2–3: 41 % → 35 %, × 0.5 ␣a Ġ é 日 √σ ≤ ✓")
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).strip() == shown
