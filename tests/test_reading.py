"""Whatever is wrong with a file is one line that names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapioca.errors import DataError, UsageError
from tapioca.plan import Plan
from tapioca.reading import explain_damage, read_object, read_yaml
from tapioca.tasks.spec import read_spec

DEEP = 100_000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("note: 2024-02-30", "day is out of range for month"),
        ("note: !!timestamp x", "it is not of the form expected ('NoneType' object has no attribute 'groupdict')"),
        ("note: !!bool x", "it lacks 'x'"),
        ('note: !!int ""', "it is not of the form expected (string index out of range)"),
        ("note: " + "[" * 3000, "it is nested too deeply"),
        ("note: " + "9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
        ("note: &a [*a]", "its names for earlier values (*name) make it too large"),
        (BOMB, "its names for earlier values (*name) make it too large"),
        ('note: "\\ud800"', None),
        ("note: !!python/object:os.system x", "could not determine a constructor for the tag"),
        ("note: !!float .", "could not convert string to float: '.'"),
        ("\0", "unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_task_yaml(text: str, reason: str | None, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(f"data: rows.jsonl\n{text}\n")
    if reason is None:
        assert read_spec(path, {})[0] == tmp_path / "rows.jsonl"
        return
    with pytest.raises(DataError) as caught:
        read_spec(path, {})
    assert str(caught.value).startswith(f"cannot read {path}: {reason}")
    assert "\n" not in str(caught.value)


def test_names_for_earlier_values_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    (tmp_path / "a.yaml").write_text("")
    assert read_yaml(tmp_path / "a.yaml") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"n_layers": 4, "layers": {"2": ' + "9" * 400 + "}}", "not a plan: scales must map layers to numbers"),
        ('{"n_layers": ' + "[" * DEEP, "Invalid JSON: recursion limit exceeded"),
        ("\ufeff" + '{"n_layers": 4}', None),
        ('{"n_layers": 4, "layers": {"9": 0}}', "layer 9 is outside 0-3"),
        ("", "Invalid JSON"),
    ],
)
def test_plans(text: str, reason: str | None, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    if reason is None:
        assert Plan.read(path) == Plan.full(4)
        return
    with pytest.raises(UsageError) as caught:
        Plan.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "nothing", "utf-16", "list", "deep"])
def test_what_is_no_json_object(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    make = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "nothing": lambda: None,
        "utf-16": lambda: path.write_text("{}", encoding="utf-16"),
        "list": lambda: path.write_text("[]"),
        "deep": lambda: path.write_text('{"a":' * DEEP),
    }
    reasons = {
        "folder": "it is no file",
        "pipe": "it is no file",
        "loop": "Too many levels of symbolic links",
        "nothing": "No such file or directory",
        "utf-16": "it is not UTF-8 text (byte 0)",
        "list": "it holds no JSON object",
        "deep": "it is nested too deeply",
    }
    make[what]()
    with pytest.raises(DataError) as caught:
        read_object(path, DataError, "give another")
    assert str(caught.value) == f"cannot read {path}: {reasons[what]}; give another"


def test_a_message_of_the_body_gets_the_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^a\.json: too few$"), explain_damage("a.json", DataError):
        raise UsageError("too few")
    with pytest.raises(UsageError, match=r"^a\.json: too few$"), explain_damage("a.json", DataError):
        raise UsageError("a.json: too few")
    with pytest.raises(KeyboardInterrupt), explain_damage("a.json", DataError):
        raise KeyboardInterrupt
