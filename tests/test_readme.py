"""What the README's consoles show is what its commands print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="git says what belongs to a copy; this is no clone"
)


def compare(*page: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / "docs" / "console.py", *page], capture_output=True, encoding="utf-8")


@pytest.mark.slow
def test_the_readme_shows_what_is_printed() -> None:
    done = compare()
    assert done.returncode == 0, done.stdout + done.stderr
    run = [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert run == [["make", "demo"], ["python", "studies/scan.py"], ["tapioca", "prune"], ["tapioca", "export"]]


def test_a_page_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    """A command that shows nothing or has a placeholder is not run; a prompt may be printed by a command."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```console\n$ echo right\nright\n$ touch made  # shows nothing\n$ false ...\nnever run\n```\n"
        "```console\n$ printf 'first\\n$ told\\n%s\\n' \\\n    $COLUMNS\nfirst\n$ told\n81\n$ ls made\nmade\n```\n"
    )
    done = compare(page)
    assert done.returncode == 1
    changed = [line for line in done.stdout.splitlines() if line.startswith(("-", "+")) and line[1:2].isalnum()]
    assert changed == ["-81", "+80", "-made"]
    assert "exit status 2: ls: " in done.stdout


def test_a_page_that_is_up_to_date_passes(tmp_path: Path) -> None:
    """A block's screen is as wide as the box in it."""
    page = tmp_path / "page.md"
    page.write_text("```console\n$ printf '╭──╮\\n%s\\n' $COLUMNS\n╭──╮\n4\n```\n")
    done = compare(page)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "page.md: as printed")
