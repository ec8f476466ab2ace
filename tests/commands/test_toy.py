"""A command is one folder and one row: a toy one is used from the shell, from Python and through `report`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tapioca
from tapioca.cli import main as cli
from tapioca.cli.report import run as report
from tapioca.commands import COMMANDS, Command

CONFIG = '''
from pydantic import Field
from tapioca.records import DataConfig

class CountConfig(DataConfig):
    """The request behind `tapioca count`."""

    verb = "count"
    times: int = Field(default=1, ge=1, description="How often every example counts.")
'''
RESULT = """
from tapioca.records.results import RunHeader

class CountResult(RunHeader):
    counted: dict[str, int]
"""
RUN = """
from tapioca.commands import save_result
from tapioca.progress import SILENT
from tapioca.session.context import load_inputs, open_folder
from toy_count.result import CountResult

def count(config, progress=SILENT, inputs=None):
    inputs = inputs or load_inputs(config, progress)
    counted = {domain: config.times * len(task.examples) for domain, task in inputs.test.items()}
    with open_folder(config, inputs) as header:
        result = CountResult(**header, counted=counted)
        save_result("count", result)
    return result
"""
PAGE = """
from tapioca.report.template import write_record_page

def draw_charts(result):
    return {}

def write_page(result):
    return write_record_page(__name__, result)

def show(result, console):
    console.print(f"held out  {result.counted}", markup=False)
"""
TEMPLATE = (
    '{% extends "base.html.j2" %}{% block what %}counted{% endblock %}{% block body %}{{ info.counted }}{% endblock %}'
)
ROW = Command(
    "Count held-out examples.",
    config="toy_count.config:CountConfig",
    run="toy_count.run:count",
    page="toy_count.page",
    result="toy_count.result:CountResult",
    file="count.json",
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "toy_count"
    folder.mkdir()
    files = {"config.py": CONFIG, "result.py": RESULT, "run.py": RUN, "page.py": PAGE, "page.html.j2": TEMPLATE}
    for name, text in {"__init__.py": "", **files}.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "count", ROW)
    importlib.reload(cli)
    yield
    monkeypatch.undo()
    importlib.reload(cli)
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_count"]:
        del sys.modules[name]


@pytest.mark.usefixtures("toy")
def test_a_new_command_is_one_folder_and_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"task": "lab:context_noise=0.2,n=40", "reference": "lab:id,n=40"}
    flags = [word for name, value in data.items() for word in (f"--{name}", value)]
    assert cli.main(["count", "learner", *flags, "--times", "3", "--out", str(tmp_path / "shell")]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("held out  {'ood': 60, 'id': 60}\n")
    assert "60" in (tmp_path / "shell" / "report.html").read_text()

    session = tapioca.Session("learner", **data, progress=False)
    result = session.run("count", times=3, out=tmp_path / "python")
    assert result.counted == {"ood": 60, "id": 60}

    (tmp_path / "shell" / "report.html").unlink()
    report(tmp_path / "shell")
    assert capsys.readouterr().out == "held out  {'ood': 60, 'id': 60}\n"
    assert (tmp_path / "shell" / "report.html").is_file()
    assert cli.main(["count", "learner", *flags, "--times", "0"]) == 2
    assert "--times: Input should be greater than or equal to 1, got 0" in capsys.readouterr().err
