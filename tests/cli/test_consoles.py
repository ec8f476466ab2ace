"""Consoles of any encoding: every command ends well, and what they cannot show reads on in ASCII."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.rows import choice_rows, write_lines

from tapioca.cli.consoles import make_printable
from tapioca.cli.main import main


@pytest.fixture(scope="module")
def commands(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Commands that end well, and last one that does not."""
    folder, model = tmp_path_factory.mktemp("run"), str(model_folder)
    rows = [{**row, "context": row["context"] + " Ġ → “é” 日 ‖ ×"} for row in choice_rows(40)]
    task, out = str(write_lines(folder / "task.jsonl", rows)), str(folder / "run")
    sizes = ["--score", "likelihood", "--max-drops", "1", "--random-plans", "1"]
    return [
        ["prune", model, "--task", task, "--out", out, *sizes],
        ["prune", model, "--task", task, "--dry-run"],
        ["tasks", task, "--model", model],
        ["report", out],
        ["inspect", model],
        ["tasks"],
        ["lab", "shifts"],
        ["prune", "--help"],
        ["report", "→ folder"],
    ]


CODES = [*[0] * 8, 2]


def check_printed(out: str, err: str) -> None:
    assert " -> " in out
    assert "Traceback" not in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_every_command_ends_well_in_the_c_locale(commands: list[list[str]]) -> None:
    code = "import json, sys; from tapioca.cli.main import main; sys.exit([main(argv) for argv in json.loads(sys.argv[1])] != json.loads(sys.argv[2]))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands), json.dumps(CODES)],
        capture_output=True,
        env={**os.environ, **locale},
    )
    assert done.returncode == 0, done.stderr
    check_printed(done.stdout.decode("ascii"), done.stderr.decode("ascii"))


def test_every_command_ends_well_in_a_western_console(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = {name: io.BytesIO() for name in ("stdout", "stderr")}
    for name, raw in printed.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding="cp1252"))
    codes = [main(argv) for argv in commands]
    sys.stdout.flush()
    sys.stderr.flush()
    assert codes == CODES
    check_printed(*(raw.getvalue().decode("cp1252") for raw in printed.values()))


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
