"""The documentation says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_command_reference_is_what_help_prints() -> None:
    """In a fresh process, since typer reads how wide its console is when it is imported."""
    code = "import build; print(build.cli(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "docs")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


MADE = ["families.md", "results.md", "../src/tapioca/commands/options.py"]


@pytest.mark.parametrize("name", MADE)
def test_pages_that_are_made_are_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    import build

    assert build.PAGES.keys() == {"cli.md", *MADE}
    assert build.PAGES[name]() == (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_room_is_named_in_the_guide() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [picture] = re.findall(r"^## Rooms\n\n```\n(.*?)```", guide, re.DOTALL | re.MULTILINE)
    rooms = {room.parent.name for room in (ROOT / "src" / "tapioca").glob("*/__init__.py")}
    assert len(rooms) > 15
    assert rooms <= set(re.split(r"[\s·]+", picture))


def test_every_make_verb_is_in_the_guide() -> None:
    verbs = re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {"install", "check", "test", "test-slow", "coverage", "docs", "demo"} <= set(verbs)
    for verb in set(verbs) - {"clean"}:
        assert f"`make {verb}`" in guide


@pytest.mark.slow
def test_the_python_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    said = re.findall(r"print\(.*?\)\s+# (.*)", code)
    assert printed[: len(said)] == said
    assert (tmp_path / "pruned" / "config.json").is_file()
