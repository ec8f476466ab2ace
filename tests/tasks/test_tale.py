"""`--compat tale`: prompts and marking as TALE's code has them, faults included, beside what is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset
from support.ready_rows import READY_ROWS
from support.words import WORDS, word_tokenizer

import tapioca
from tapioca.cli.main import main
from tapioca.commands.compare.config import CompareConfig
from tapioca.commands.prune.config import PruneConfig
from tapioca.engine.decode import PromptBatch, decode
from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.progress import SILENT
from tapioca.session.context import load_inputs, open_run
from tapioca.tasks import tale
from tapioca.tasks.catalog import CATALOG, find_variant
from tapioca.tasks.files import load_task
from tapioca.tasks.marking import Marking
from tapioca.tasks.spec import read_spec
from tapioca.tasks.text import Encoder

LETTERS = tuple("ABCD")
CHAT = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]"


def encoder() -> Encoder:
    """Every word that is no answer begins with a letter that TALE's marking takes for one."""
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([f"{LETTERS[at % 4]}{at}" for at in range(len(WORDS), 128)])
    tokenizer.chat_template = CHAT
    return Encoder(tokenizer, 4096)


@pytest.mark.parametrize(
    ("gold", "text", "ours", "theirs"),
    [
        ("B", "B", True, True),
        ("B", " B.", True, True),
        ("B", "(B)", True, True),
        ("B", "Because", False, True),
        ("B", "b", False, True),
        ("D", "Do", False, True),
        ("A", "Answer: B", False, True),
        ("B", "Answer: B", True, False),
        ("B", "I think A is wrong, B", True, False),
        ("B", "It is B", True, True),
        ("B", "", False, False),
        ("B", "Eve", False, False),
        ("3", "3", False, False),
    ],
)
def test_letters(gold: str, text: str, ours: bool, theirs: bool) -> None:
    assert Marking(extract=r"\b[A-D]\b").is_right(text, gold) is ours
    assert Marking("tale_letter", labels=LETTERS).is_right(text, gold) is theirs


@pytest.mark.parametrize(
    ("gold", "text", "ours", "theirs"),
    [
        ("18", "so 9 * 2\n#### 18", True, True),
        ("1200", "#### $1,200", True, True),
        ("-5", r"so \boxed{-5}, not 7", False, True),
        ("18", "#### 18\nor 19", False, True),
        ("18", "18.00", True, False),
        ("4", r"\frac{3}{4}", False, True),
        ("2", r"\boxed{\frac{1}{2}}", False, True),
        ("5", r"2\sqrt{5}", False, True),
        ("5", "5x", False, True),
        ("17", "18", False, False),
        ("18", "", False, False),
    ],
)
def test_numbers(gold: str, text: str, ours: bool, theirs: bool) -> None:
    assert Marking("number").is_right(text, gold) is ours
    assert Marking("tale_number").is_right(text, gold) is theirs


@pytest.mark.parametrize(
    ("gold", "text"), [(r"\frac{3}{4}", "4"), (r"2\sqrt{5}", "5"), (r"\frac{1}{2}", r"\boxed{2}"), ("x", "x.")]
)
def test_gold_answers_are_read_as_wrongly_as_texts(gold: str, text: str) -> None:
    marking = Marking("tale_number")
    marking.check(gold, "f:1")
    assert marking.is_right(text, gold)


@pytest.mark.parametrize(
    ("gold", "text", "theirs"),
    [("True", "true", True), ("True", "Not True, but False", True), ("False", "untrue", False), ("True", "", False)],
)
def test_booleans(gold: str, text: str, theirs: bool) -> None:
    _, spec = read_spec(CATALOG["tale/bbh_boolean_expressions"], {})
    assert spec.marking.is_right(text, gold) is theirs


SCIENCE = (
    "You are a Science expert assistant. Your task is to answer multiple-choice science questions at grade-school "
    "level. Each question has answer choices labeled A, B, C, and D. Respond only with the single correct answer letter."
)
LISTED = "the cat sat on\n(A) the cat\n(B) a big dog\n(C) it\n(D) one red mat"
MATHS = (
    "You are a careful math problem solver. Show full step-by-step reasoning. On the final line, write the answer in "
    "the form '#### <integer>'."
)
PROBLEM = (
    "Problem: one and two\n\nSolve step by step and finish with the final answer on a new line as: #### <integer>."
)
ASKED: dict[str, tuple[str, str, str, int]] = {
    "arc_easy": (SCIENCE, LISTED, "C", 1),
    "arc_challenge": (SCIENCE, "the cat sat on\n(1) it\n(2) red\n(3) big", "3", 1),
    "boolq": (
        "You answer True/False questions from passages. Respond only with 'A' for True or 'B' for False.",
        "Passage: the dog was big .\n\nQuestion: was it big\n(A) True\n(B) False",
        "A",
        1,
    ),
    "mmlu": (
        "You answer multiple-choice questions across academic subjects. "
        "Respond only with the single best answer letter: A, B, C, or D.",
        LISTED,
        "C",
        1,
    ),
    "commonsense_qa": (
        "You answer commonsense multiple-choice questions. "
        "Respond only with the single best answer letter: A, B, C, D, or E.",
        LISTED,
        "B",
        1,
    ),
    "winogrande": (
        "You solve pronoun resolution tasks. Choose the better option and respond only with '1' or '2'.",
        "Sentence: the cat sat on the dog and _ was big .\nOption 1: the cat\nOption 2: the dog\n"
        "Which option should fill in the blank (_)?",
        "2",
        1,
    ),
    "bbh_boolean_expressions": (
        "You are a boolean expression evaluator. Respond with exactly one word: 'True' or 'False'.",
        "Evaluate this boolean expression: yes and no\n\nAnswer (True or False):",
        "False",
        1,
    ),
    "gsm8k_hard": (MATHS, PROBLEM, "12", 200),
    "math500": (MATHS, PROBLEM, "\\frac{3}{4}", 200),
}
"""System text, question, gold answer and token budget of the first row of each task."""


def as_tale(name: str, folder: Path, rows: list[dict[str, Any]]) -> Any:
    """A task as TALE asks it, its data taken from a file instead of the hub."""
    Dataset.from_list(rows).to_parquet(folder / "data.parquet")
    return load_task(f"tale/{name}", encoder(), {"data": str(folder / "data.parquet")})


@pytest.mark.parametrize("name", ASKED)
def test_prompts_are_those_of_tale(name: str, tmp_path: Path) -> None:
    system, asked, gold, budget = ASKED[name]
    rows = [{"question": "one and two", "answer": "so\n#### 12"}] if name == "gsm8k_hard" else READY_ROWS[name]
    task = as_tale(name, tmp_path, rows)
    example, tokenizer = task.examples[0], encoder().tokenizer
    assert (example.text, example.answer, task.max_new_tokens) == (asked, gold, budget)
    chat = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
    printed = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert list(example.prompt) == tokenizer(printed)["input_ids"]
    assert example.prompt[:2] == (1, 1)
    assert "known faults: " in task.notes[-1]
    assert "TALE searched and reported on the same rows" in task.notes[-1]


def test_every_ready_task_has_a_variant() -> None:
    assert {name for name in CATALOG if "/" not in name} == set(ASKED)
    assert {find_variant(name, "tale") for name in ASKED} == {name for name in CATALOG if "/" in name}
    assert find_variant("tale/boolq", "tale") == "tale/boolq"
    assert find_variant("anything", None) == "anything"


def test_chance_is_that_of_the_choices(tmp_path: Path) -> None:
    assert as_tale("commonsense_qa", tmp_path, READY_ROWS["commonsense_qa"]).chance.tolist() == [0.2]
    assert as_tale("math500", tmp_path, READY_ROWS["math500"]).chance.tolist() == [0]


def test_letters_need_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="match: tale_letter needs labels, in capitals"):
        load_task("tale/boolq", encoder(), {"data": str(tmp_path / "data.parquet"), "labels": ()})


def test_a_single_token_does_not_break_off(tmp_path: Path) -> None:
    task = as_tale("arc_easy", tmp_path, READY_ROWS["arc_easy"])
    assert not evaluate(tiny("llama"), task, [Plan.full(4)]).truncated.any()


def test_the_search_goes_as_far_down_as_tale() -> None:
    asked = PruneConfig(model="m", task="boolq", compat="tale")
    assert asked.epsilon == 0.08
    assert asked.command() == "tapioca prune m --task boolq --compat tale --epsilon 0.08"
    assert PruneConfig(model="m", task="boolq", compat="tale", epsilon=0.02).epsilon == 0.02
    assert PruneConfig(model="m", task="boolq").epsilon is None
    assert CompareConfig(model="m", task="boolq", compat="tale").command().endswith("--compat tale")


@pytest.mark.parametrize("verb", ["prune", "compare"])
@pytest.mark.parametrize("name", ["data.jsonl", "harness:arc_easy", "lab:target_offset=2", "hub:google/boolq"])
def test_what_tale_never_asked(
    verb: str, name: str, tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [verb, str(model_folder), "--task", name, "--compat", "tale", "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"--compat tale has no task '{name}'; leave it out, or take one of: arc_challenge, arc_easy, bbh" in said
    assert not (tmp_path / "run").exists()


def test_what_would_change_the_published_task(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["prune", str(model_folder), "--task", "boolq", "--compat", "tale", "--out", str(tmp_path / "run")]
    assert main([*argv, "--score", "likelihood", "--template", "{{ question }}"]) == 2
    assert "asked and marked as published; leave out: template, score" in " ".join(capsys.readouterr().err.split())
    live = as_tale("boolq", tmp_path, READY_ROWS["boolq"])
    with pytest.raises(UsageError, match="leave out: tale/boolq"):
        tapioca.prune(tiny("llama"), encoder().tokenizer, task=live, compat="tale", progress=False)


def test_tasks_as_tale_asks_them(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--compat", "tale"]) == 0
    listed = capsys.readouterr().out
    assert re.findall(r"^(\S+) +generate +hub:", listed, re.MULTILINE) == [f"tale/{name}" for name in sorted(ASKED)]
    assert main(["tasks", "data.jsonl", "--compat", "tale", "--model", str(model_folder)]) == 2
    assert "--compat tale has no task 'data.jsonl'" in " ".join(capsys.readouterr().err.split())


def test_a_run_says_what_is_wrong_with_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = tiny("llama"), encoder().tokenizer
    rows = [{**READY_ROWS["arc_easy"][0], "id": f"q{at}", "question": "the cat " + "then " * at} for at in range(30)]
    task = as_tale("arc_easy", tmp_path, rows)
    texts = [
        task.answer_text(ids.tolist())
        for ids in decode(model, PromptBatch([e.prompt for e in task.examples], 1, task.is_finished))
    ]
    golds = [tale.find_letter(text, LETTERS) for text in texts]
    marked = [{**row, "answerKey": gold} for row, gold in zip(rows, golds, strict=True) if gold]
    task = as_tale("arc_easy", tmp_path, marked)
    assert not set(texts) & set(LETTERS)
    assert evaluate(model, task, [Plan.full(4)]).values.mean() == 1  # though the model never writes an answer
    described = yaml.safe_load(CATALOG["tale/arc_easy"].read_text())
    (tmp_path / "arc.yaml").write_text(yaml.safe_dump({**described, "data": "data.parquet"}))
    monkeypatch.setitem(CATALOG, "tale/arc_easy", tmp_path / "arc.yaml")
    config = PruneConfig(model="m", task="arc_easy", compat="tale", out=tmp_path / "run")
    with open_run(config, SILENT, load_inputs(config, SILENT, LoadedModel(model, tokenizer))) as job:
        assert job.search["ood"].digest != job.test["ood"].digest
    assert len(job.search["ood"].examples) + len(job.test["ood"].examples) == len(marked)
    [note] = [note for note in job.notes if "known faults" in note]
    assert note.startswith("tale/arc_easy: as TALE asks and marks, for comparison only; known faults: a first letter")


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    Dataset.from_list(READY_ROWS["boolq"]).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(DataError, match="no chat template; leave out --compat tale, or chat: text"):
        load_task("tale/boolq", Encoder(word_tokenizer(), 4096), {"data": str(tmp_path / "data.parquet")})
