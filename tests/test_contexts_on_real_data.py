"""Choices of a real model on real questions do not depend on whether contexts are read once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapioca.evaluate import evaluate
from tapioca.models.load import load
from tapioca.plan import Plan
from tapioca.records import ComputeCost, ExampleScore, Scores
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

PASSAGE = "{{ passage }}\nquestion: {{ question }}?\nanswer:"
LETTERS = "{{ question }}\nA. {{ choices[0] }}\nB. {{ choices[1] }}\nC. {{ choices[2] }}\nAnswer:"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "arc_easy": ("arc_easy/test.jsonl", {}),
    "arc_easy, letters": ("arc_easy/test.jsonl", {"template": LETTERS, "labels": ("A", "B", "C")}),
    "boolq": ("boolq/validation_with_passage.jsonl", {"template": PASSAGE, "labels": ("no", "yes")}),
    "cloze": ("cloze/tinystories.jsonl", {}),
}
"""File and how it is asked; letters are rows that are the same, where the answer is one token."""


class Ledger:
    """Counts what was computed, and remembers nothing."""

    def __init__(self) -> None:
        self.tokens = 0.0

    def recall(self, plan: Plan, batch: str) -> None:
        return None

    def record(self, plan: Plan, batch: str, answers: list[ExampleScore], spent: ComputeCost) -> None:
        self.tokens += spent.tokens


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_choices_are_those_of_whole_rows(name: str, shared: Path) -> None:
    path, options = CASES[name]
    loaded = load(str(shared / "models" / "stories260K"))
    assert loaded.tokenizer
    encoder = Encoder(loaded.tokenizer, 512)
    given = {"kind": "choice", "too_long": "skip", "skip_bad_rows": True, **options}
    task = load_task(str(shared / "data" / path), encoder, given)
    task = task.select_examples(task.examples[: 64 if name == "boolq" else 320])  # passages are long
    plans = [Plan.full(5), *(Plan.drop(5, [layer]) for layer in range(5))]
    scores: dict[bool, Scores] = {}
    tokens: dict[bool, float] = {}
    for asked in (task, replace(task, shares_contexts=False)):
        ledger = Ledger()
        scores[asked.shares_contexts] = evaluate(loaded.model, asked, plans, result_cache=ledger)
        tokens[asked.shares_contexts] = ledger.tokens
    report(name, task, scores, tokens)
    assert np.abs(scores[True].log_likelihoods - scores[False].log_likelihoods).max() < 1e-4
    differing = scores[True].predicted != scores[False].predicted
    assert not (differing & ~scores[True].tied & ~scores[False].tied).any()
    assert tokens[True] < 0.75 * tokens[False]


def report(name: str, task: Task, scores: dict[bool, Scores], tokens: dict[bool, float]) -> None:
    """What `pytest -s` shows."""
    differing = scores[True].predicted != scores[False].predicted
    largest = np.abs(scores[True].log_likelihoods - scores[False].log_likelihoods).max()
    print(
        f"\n{name}: {len(task.examples)} questions, {differing.size} choices, {differing.sum()} differ, "
        f"{int(scores[True].tied.sum())} tied, log-likelihoods by {largest:.1e} at most, "
        f"layer-tokens {tokens[False] / tokens[True]:.2f} times as many read whole"
    )
