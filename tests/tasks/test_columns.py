"""Choices in several columns, and their order where the right one always stands first."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError
from tapioca.tasks.base import Task
from tapioca.tasks.files import load_task
from tapioca.tasks.limit import Limit
from tapioca.tasks.rows import rows_in_memory
from tapioca.tasks.text import Encoder

WORDS = ["cat", "dog", "mat", "rug", "sat"]
RIGHT, WRONG = "Correct Answer", [f"Incorrect Answer {number}" for number in (1, 2, 3)]
GPQA = {"question": "Question", "choices": [RIGHT, *WRONG], "answer": RIGHT}


def table(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def gpqa(path: Path, reverse: bool = False) -> Path:
    rows = [
        [f"{WORDS[at % 5]} {WORDS[at // 5]}", *(f"{WORDS[(at + place) % 5]} {WORDS[place]}" for place in range(4))]
        for at in range(20)
    ]
    return table(path, ["Question", RIGHT, *WRONG], rows[::-1] if reverse else rows)


def load(path: Path, limit: Limit | None = None, **given: Any) -> Task:
    return load_task(str(path), Encoder(word_tokenizer(), 128), {"kind": "choice", **given}, limit=limit)


def shown(task: Task) -> dict[str, tuple[Any, ...]]:
    return {example.text: (example.choices, example.gold) for example in task.examples}


def test_choices_in_columns_whose_names_hold_spaces(tmp_path: Path) -> None:
    task = load(gpqa(tmp_path / "gpqa.csv"), fields=GPQA)
    assert shown(task)["Question: cat cat\nAnswer:"] == (("cat cat", "dog dog", "mat mat", "rug rug"), 0)
    assert task.notes[-1] == (
        "gpqa.csv: the first choice is right in all 20 rows; --shuffle-choices gives each row an order of its own"
    )


def test_shuffled_choices_depend_on_the_row_alone(tmp_path: Path) -> None:
    plain = shown(load(gpqa(tmp_path / "a.csv"), fields=GPQA))
    task = load(gpqa(tmp_path / "a.csv"), fields=GPQA, shuffle_choices=True)
    again = load(gpqa(tmp_path / "b.csv", reverse=True), fields=GPQA, shuffle_choices=True)
    some = load(gpqa(tmp_path / "a.csv"), Limit(8, 3), fields=GPQA, shuffle_choices=True)
    assert shown(task) == shown(again)
    assert shown(some).items() <= shown(task).items()
    assert {example.gold for example in task.examples} == {0, 1, 2, 3}
    for text, (choices, gold) in shown(task).items():
        assert choices[gold] == plain[text][0][0]
        assert sorted(choices) == sorted(plain[text][0])
    assert not any("the first choice is right" in note for note in task.notes)


@pytest.mark.parametrize("columns", [["A", "B", "C"], ["C", "A", "B"]])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_letter_that_names_a_column(columns: list[str], shuffle: bool, tmp_path: Path) -> None:
    rows = [["the cat", "cat", "dog", "mat", "B"], ["the dog", "rug", "sat", "dog", "C"]]
    path = table(tmp_path / "t.csv", ["question", "A", "B", "C", "answer"], rows)
    task = load(path, fields={"choices": columns}, shuffle_choices=shuffle)
    assert [example.choices[example.gold or 0] for example in task.examples] == ["dog", "dog"]


def test_columns_on_the_command_line() -> None:
    config = PruneConfig(model="m", task="t", field=("choices=Correct Answer", "choices=Other", "answer=x=y"))
    assert config.task_options()["fields"] == {"choices": ("Correct Answer", "Other"), "answer": "x=y"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fields": {**GPQA, "choices": [RIGHT, "Wrong"]}}, r"gpqa\.csv:2: no field 'Wrong'; the row has: Question, "),
        ({"fields": {**GPQA, "answer": [RIGHT, RIGHT]}}, "field answer is given several columns; only choices can"),
        ({"fields": {**GPQA, "choices": [RIGHT]}}, "field 'choices' must be a list of at least two texts"),
        ({"fields": {**GPQA, "choices": [RIGHT, RIGHT]}}, "two choices are the same; they must differ"),
        ({"fields": GPQA, "kind": "generate", "shuffle_choices": True}, "this is a generate task; only written-out choices"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_choices(given: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(gpqa(tmp_path / "gpqa.csv"), **given)


@pytest.mark.parametrize(
    ("columns", "flags"),
    [
        (["Question", RIGHT, *WRONG], '--field "choices=Correct Answer" --field "choices=Incorrect Answer 1" --field "choices=Incorrect Answer 2" --field "choices=Incorrect Answer 3" --field "answer=Correct Answer" --shuffle-choices'),
        (["question", "distractor1", "distractor2", "distractor3", "correct_answer", "support"], "--field choices=correct_answer --field choices=distractor1 --field choices=distractor2 --field choices=distractor3 --field answer=correct_answer --shuffle-choices"),
        (["question", "first", "second"], "--field choices=COLUMN --field choices=COLUMN --field answer=COLUMN"),
    ],
)  # fmt: skip
def test_choices_in_columns_are_named_as_a_list(tmp_path: Path, columns: list[str], flags: str) -> None:
    rows = [{column: f"the {WORDS[(at + n) % 5]} {n}" for n, column in enumerate(columns)} for at in range(5)]
    with pytest.raises(DataError) as caught:
        load(write_lines(tmp_path / "t.jsonl", rows), kind=None)
    told = f"--kind choice {flags} (choices of each row; in a YAML fields: {{choices: [COLUMN, COLUMN]}}); "
    assert told in str(caught.value)
    with pytest.raises(
        DataError, match=r"lacks .*choices \(--field .*, in a YAML fields: \{choices: \[COLUMN, COLUMN\]"
    ):
        load(write_lines(tmp_path / "t.jsonl", rows))


@pytest.mark.parametrize("empty", ["", " ", None, float("nan")])
def test_an_empty_column_is_a_choice_the_row_does_not_have(empty: object) -> None:
    rows = [
        {
            "question": "the cat",
            "option_a": "sat",
            "option_b": "ran",
            "option_c": "was",
            "option_d": "no",
            "answer": "B",
        },
        {
            "question": "a dog",
            "option_a": "sat",
            "option_b": empty,
            "option_c": "was",
            "option_d": empty,
            "answer": "C",
        },
    ]
    templates = ["{{ question }}", "{{ choices | join(' or ') }}"]
    tasks = [
        load_task("rows", Encoder(word_tokenizer(), 128), {"template": text}, rows_in_memory(rows))
        for text in templates
    ]
    assert [(example.choices, example.gold, example.chance) for example in tasks[0].examples] == [
        (("sat", "ran", "was", "no"), 1, 0.25),
        (("sat", "was"), 1, 0.5),
    ]
    assert [example.text for example in tasks[1].examples] == ["sat or ran or was or no", "sat or was"]


@pytest.mark.parametrize(
    ("cells", "answer", "told"),
    [
        (["sat", "ran", ""], "C", r"t\.jsonl:2: answer 'C' is the choice in column 'option_c', which is empty"),
        (["sat", "ran", ""], 2, r"t\.jsonl:2: answer 2 is the choice in column 'option_c', which is empty"),
        (["sat", "ran", ""], "", r"t\.jsonl:2: answer '' is none of the 3 choices"),
        (["sat", "", ""], "A", r"t\.jsonl:2: field 'choices' must be a list of at least two texts, got \['sat'\]"),
        (["sat", "sat", ""], "A", r"t\.jsonl:2: two choices are the same"),
    ],
)
def test_an_empty_column_that_is_right_is_a_bad_row(tmp_path: Path, cells: list, answer: object, told: str) -> None:
    rows = [
        {"question": "the cat", "option_a": "red", "option_b": "big", "option_c": "cat", "answer": "A" if isinstance(answer, str) else 0},
        {"question": "a dog", **dict(zip(["option_a", "option_b", "option_c"], cells, strict=True)), "answer": answer},
    ]  # fmt: skip
    path = write_lines(tmp_path / "t.jsonl", rows)
    with pytest.raises(DataError, match=told):
        load(path)
    assert len(load(path, skip_bad_rows=True).examples) == 1
