"""SCAN (Lake & Baroni 2018): every command of its grammar with the actions that carry it out, and its published splits.

    python studies/scan.py

writes `studies/data/scan/SPLIT.train.jsonl` and `SPLIT.test.jsonl` for the splits `length` (long action sequences are
tested), `addprim_jump` (`jump` within commands is tested, trained on alone) and `simple` (a random fifth is tested), and the
shortest of the long sequences apart, `length.test_ACTIONS.jsonl`.
The published files are in random order, and a model's record knows its data by their order: `scan_order.npz` holds it,
for each split the numbers of its rows among the commands of `all_commands`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from tapioca.disk import make_folder, write_text

HERE = Path(__file__).parent
DIRECTIONS = {"left": "TURN_LEFT", "right": "TURN_RIGHT"}
VERBS = {"walk": "WALK", "look": "LOOK", "run": "RUN", "jump": "JUMP"}
LONGEST_TRAINED = 22
"""Actions of the longest commands that the length split trains on."""
TESTED_ALONE = (24, 25, 26)
"""Numbers of actions whose commands have a test file of their own."""
SIMPLE_TRAINED = 16_728
"""Rows that the simple split trains on, four in five."""

Row = tuple[str, str]
"""A command and its actions, both as words with spaces between them."""


def verb_phrases() -> Iterator[Row]:
    """A verb alone, or with a direction: `walk`, `turn left`, `run opposite right`, `jump around left`."""
    yield from VERBS.items()
    for (verb, action), (direction, turn) in product([("turn", ""), *VERBS.items()], DIRECTIONS.items()):
        step = f"{turn} {action}".strip()
        yield f"{verb} {direction}", step
        yield f"{verb} opposite {direction}", f"{turn} {step}"
        yield f"{verb} around {direction}", " ".join([step] * 4)


def repeated_phrases() -> Iterator[Row]:
    """Verb phrases once, twice and thrice."""
    for (phrase, actions), (word, times) in product(verb_phrases(), [("", 1), (" twice", 2), (" thrice", 3)]):
        yield phrase + word, " ".join([actions] * times)


def all_commands() -> list[Row]:
    """The 20,910 commands: one phrase, or two, of which `after` carries out the second first."""
    phrases = list(repeated_phrases())
    commands = list(phrases)
    for (first, first_actions), (second, second_actions) in product(phrases, phrases):
        commands.append((f"{first} and {second}", f"{first_actions} {second_actions}"))
        commands.append((f"{first} after {second}", f"{second_actions} {first_actions}"))
    return commands


def is_trained(split: str, position: int, row: Row) -> bool:
    """Whether a row belongs to the training part of a split; `position` is its place in the published order."""
    command, actions = row
    if split == "length":
        return len(actions.split()) <= LONGEST_TRAINED
    if split == "addprim_jump":
        return command == "jump" or "jump" not in command.split()
    return position < SIMPLE_TRAINED


def make_splits() -> dict[str, dict[str, list[Row]]]:
    """The rows to train on and to test on of every split, in the published order."""
    commands = all_commands()
    splits: dict[str, dict[str, list[Row]]] = {}
    with np.load(HERE / "scan_order.npz") as orders:
        for split, order in orders.items():
            splits[split] = {"train": [], "test": []}
            for position, number in enumerate(order):
                part = "train" if is_trained(split, position, commands[number]) else "test"
                splits[split][part].append(commands[number])
    return splits


def write_splits(folder: Path = HERE / "data" / "scan") -> dict[str, dict[str, list[Row]]]:
    """Write the files of all splits, `SPLIT.PART.jsonl`, and return what they hold."""
    make_folder(folder)
    splits = make_splits()
    for split, parts in splits.items():
        for part, rows in parts.items():
            _write_rows(folder / f"{split}.{part}.jsonl", rows)
    for length in TESTED_ALONE:
        rows = [row for row in splits["length"]["test"] if len(row[1].split()) == length]
        _write_rows(folder / f"length.test_{length}.jsonl", rows)
    return splits


def _write_rows(path: Path, rows: list[Row]) -> None:
    write_text(path, "".join(json.dumps({"in": command, "out": actions}) + "\n" for command, actions in rows))


if __name__ == "__main__":
    for split, parts in write_splits().items():
        print(f"{split}: {len(parts['train']):,} commands to train on, {len(parts['test']):,} to test on")
