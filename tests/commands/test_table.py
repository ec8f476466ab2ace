"""The table of commands names what is there, since nothing but a run looks it up."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import get_type_hints

import pytest

from tapioca.commands import COMMANDS, Command
from tapioca.progress import Progress
from tapioca.records import DataConfig

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
FILES = [command for command in COMMANDS.values() if command.file]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_runs_its_request_and_shows_what_it_found(command: Command) -> None:
    for run, page in filter(None, [(command.run, command.page), command.dry_run]):
        config, progress, *_ = get_type_hints(resolve_name(run)).values()
        assert config is resolve_name(command.config)
        assert progress in (Progress, Progress | None)
        assert list(signature(resolve_name(page).show).parameters)[1] == "console"
    [name] = [name for name, row in COMMANDS.items() if row is command]
    assert f"tapioca {name} " in README
    config = resolve_name(command.config)
    assert {*command.arguments} <= config.model_fields.keys()
    if command.result and issubclass(config, DataConfig):
        assert command.arguments == config.arguments


@pytest.mark.parametrize("command", FILES, ids=[command.file for command in FILES])
def test_a_record_is_read_drawn_and_written_by_its_page(command: Command) -> None:
    page = resolve_name(command.page)
    for function in (page.draw_charts, page.write_page, page.show):
        assert next(iter(get_type_hints(function).values())) is resolve_name(command.result)
    assert set(resolve_name(command.result).model_fields) >= {"folder", "command"}


def test_requests_results_and_pages_load_no_torch() -> None:
    names = {name.partition(":")[0] for row in COMMANDS.values() for name in (row.config, row.page, row.result) if name}
    code = f"""import sys, importlib
for name in {sorted(names)}:
    importlib.import_module(name)
    assert not {{"torch", "transformers"}} & set(sys.modules), name"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
