"""SCAN out of its grammar: the commands, and the published splits in the published order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import scan

COUNTS = {"length": (16_990, 3_920), "addprim_jump": (14_670, 7_706), "simple": (16_728, 4_182)}
"""Rows to train on and to test on, as published."""


@pytest.fixture(scope="module")
def splits() -> dict[str, dict[str, list[scan.Row]]]:
    return scan.make_splits()


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        ("jump", "JUMP"),
        ("turn left", "TURN_LEFT"),
        ("look right", "TURN_RIGHT LOOK"),
        ("turn opposite right", "TURN_RIGHT TURN_RIGHT"),
        ("run opposite left", "TURN_LEFT TURN_LEFT RUN"),
        ("turn around left", "TURN_LEFT TURN_LEFT TURN_LEFT TURN_LEFT"),
        ("walk around right", "TURN_RIGHT WALK TURN_RIGHT WALK TURN_RIGHT WALK TURN_RIGHT WALK"),
        ("jump left twice and walk", "TURN_LEFT JUMP TURN_LEFT JUMP WALK"),
        ("run thrice after look opposite left", "TURN_LEFT TURN_LEFT LOOK RUN RUN RUN"),
    ],
)
def test_a_command_is_carried_out(command: str, actions: str) -> None:
    assert dict(scan.all_commands())[command] == actions


def test_every_command_is_there_once() -> None:
    commands = dict(scan.all_commands())
    assert len(commands) == len(scan.all_commands()) == 20_910
    assert not {"walk twice thrice", "turn", "jump and run and walk"} & commands.keys()
    assert max(len(actions.split()) for actions in commands.values()) == 48


@pytest.mark.parametrize("split", COUNTS)
def test_the_splits_have_the_published_counts(split: str, splits: dict[str, dict[str, list[scan.Row]]]) -> None:
    train, test = splits[split]["train"], splits[split]["test"]
    assert (len(train), len(test)) == COUNTS[split]
    assert not set(train) & set(test)
    assert {*train, *test} == set(scan.all_commands())


def test_what_is_held_back_of_the_training(splits: dict[str, dict[str, list[scan.Row]]]) -> None:
    lengths = {part: [len(actions.split()) for _, actions in rows] for part, rows in splits["length"].items()}
    assert (max(lengths["train"]), min(lengths["test"])) == (22, 24)
    jumps = Counter(command for command, _ in splits["addprim_jump"]["train"] if "jump" in command)
    assert jumps == {"jump": 1_467}
    assert all("jump" in command for command, _ in splits["addprim_jump"]["test"])


def test_the_files_are_the_published_ones(shared: Path, tmp_path: Path) -> None:
    scan.write_splits(tmp_path / "scan")
    written = sorted((tmp_path / "scan").iterdir())
    alone = {path for path in written if ".test_" in path.name}
    assert {path.name: len(path.read_text().splitlines()) for path in alone} == {
        "length.test_24.jsonl": 336,
        "length.test_25.jsonl": 448,
        "length.test_26.jsonl": 512,
    }
    assert len(written) == 6 + 3
    for path in set(written) - alone:
        assert path.read_bytes() == (shared / "data" / "scan" / path.name).read_bytes(), path.name
