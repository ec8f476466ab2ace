"""Rows of made-up choices, and how rows get into a file."""

from __future__ import annotations

import json
from pathlib import Path


def write_lines(path: Path, rows: list[dict]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice_rows(count: int, start: int = 0) -> list[dict]:
    """Four-way choices over the words of `word_tokenizer`, two rows to a group."""
    nouns, verbs = ["cat", "dog", "mat", "rug"], ["sat", "ran", "was", "and"]
    return [
        {
            "id": f"r{at}",
            "group": f"g{at // 2}",
            "context": f"the {nouns[at % 4]} {verbs[at // 4 % 4]} on the {nouns[at // 16 % 4]} "
            + "then " * (at % 7 + at // 64),
            "choices": ["the cat", "a big dog", "one red mat", "it"],
            "answer": (at * 7 + at // 5) % 4,
        }
        for at in range(start, start + count)
    ]
