"""SCAN as tasks of the studies: what is asked, what is to be written, and that the right actions are marked right."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tapioca.lab.config import TextConfig
from tapioca.lab.corpus import read_corpus
from tapioca.lab.tokenizer import EOS_ID, OpenVocabulary, make_word_tokenizer
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import ANSWER_LOSS, EXACT_MATCH, Generate
from tapioca.tasks.text import Encoder

pytestmark = pytest.mark.usefixtures("scan_data")
TASKS = Path(__file__).parents[2] / "studies" / "tasks"
CONTEXT = 64
ASKED = [
    "walk",
    "run",
    "look",
    "jump",
    "turn",
    "left",
    "right",
    "opposite",
    "around",
    "twice",
    "thrice",
    "and",
    "after",
]
WRITTEN = ["WALK", "RUN", "LOOK", "JUMP", "TURN_LEFT", "TURN_RIGHT"]
WORDS = [*ASKED, "actions", ":", *WRITTEN]


class Read(NamedTuple):
    """A task and the vocabulary that grew as its rows were read."""

    task: Task
    words: OpenVocabulary


@cache
def read(path: str) -> Read:
    words = OpenVocabulary(CONTEXT - 1)
    return Read(load_task(path, words, {}), words)


@pytest.mark.parametrize(("name", "count"), [("length_test", 3920), ("jump_train", 14670)])
def test_scan(name: str, count: int) -> None:
    task, words = read(str(TASKS / f"scan_{name}.yaml"))
    assert isinstance(task, Generate)
    assert len(task.examples) == count
    assert set(words.ids) == {*make_word_tokenizer([], CONTEXT).get_vocab(), *WORDS}
    assert max(len(example.prompt) for example in task.examples) == 12
    assert max(len(example.rows[0].targets) for example in task.examples) == task.token_limit - 1 == 48
    assert (task.metric, task.companion.metric) == (ANSWER_LOSS, EXACT_MATCH)


def test_the_right_actions_are_marked_right() -> None:
    tokenizer = make_word_tokenizer(WORDS, CONTEXT)
    asked = load_task(str(TASKS / "scan_length_test.yaml"), Encoder(tokenizer, CONTEXT, None), {}).companion
    example = asked.examples[0]
    assert example.text == "run around left twice and run around right\nactions:"
    assert example.answer.startswith("TURN_LEFT RUN TURN_LEFT RUN")
    gold = [*example.rows[0].targets, EOS_ID]
    assert asked.is_finished(gold)
    assert asked.marking.is_right(asked.answer_text(gold), example.answer)
    assert not asked.marking.is_right(asked.answer_text(gold[2:]), example.answer)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_seeds_of_the_study_train_on_jump_alone(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are one group, which a seed may hold out; then nothing could be expected of the OOD commands."""

    def read_once(path: str, words: OpenVocabulary, options: dict[str, Any]) -> Task:
        words.ids.update(read(path).words.ids)
        return read(path).task

    monkeypatch.setattr("tapioca.lab.corpus.load_task", read_once)
    task = str(TASKS / "scan_jump_train.yaml")
    corpus = read_corpus(TextConfig(task=task, out=Path("x"), context=CONTEXT, seed=seed))
    jump = 4 + corpus.words.index("jump")
    alone = [text.ids[1] == jump and text.answer == 4 for text in corpus.trained]
    assert (sum(alone), len(corpus.held_out)) == (1467, 1320)
    assert not any(jump in text.ids for text in corpus.held_out)
    assert not {text.ids for text in corpus.trained} & {text.ids for text in corpus.held_out}
