"""Which choice is right: decided once over the rows of a file, and refused where it can be read in two ways."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.tasks.files import load_task
from tapioca.tasks.text import Encoder

NUMERALS = ["0", "1", "2", "3"]
FROM_1 = ["1", "2", "3", "4"]
WORDS = ["red", "big", "cat", "dog"]


def load(path: Path, **given: Any) -> Any:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([*NUMERALS, "4", "B", "C", "D"])
    return load_task(str(path), Encoder(tokenizer, 128), given)


def json_file(folder: Path, choices: list[Any], answers: list[Any], **more: Any) -> Path:
    """A row for each answer, all with the same choices, or each with its own where there is a list of lists."""
    each = choices if isinstance(choices[0], list) else [choices] * len(answers)
    rows = [
        {"id": f"r{at}", "context": "the cat", "choices": some, "answer": answer, **more}
        for at, (some, answer) in enumerate(zip(each, answers, strict=True))
    ]
    return write_lines(folder / "task.jsonl", rows)


def csv_file(folder: Path, choices: list[Any], answers: list[Any], name: str = "task.csv") -> Path:
    """The same as a CSV, where all is text."""
    import json

    each = choices if isinstance(choices[0], list) else [choices] * len(answers)
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "context", "choices", "answer"])
        writer.writerows(
            [f"r{at}", "the cat", json.dumps(some), answer]
            for at, (some, answer) in enumerate(zip(each, answers, strict=True))
        )
    return folder / name


def golds(task: Any) -> list[int]:
    return [example.gold for example in task.examples]


def phrase(task: Any) -> str:
    [line] = [note for note in task.notes if "the right one given" in note]
    return line.partition("the right one given ")[2]


def test_a_computed_number_is_an_index_whatever_the_choices(tmp_path: Path) -> None:
    choices = {"text": FROM_1, "label": ["A", "B", "C", "D"]}
    path = write_lines(tmp_path / "t.jsonl", [{"context": "the cat", "choices": choices, "answerKey": "B"}])
    fields = {"choices": "{{ choices.text }}", "answer": "{{ choices.label.index(answerKey) }}"}
    task = load(path, kind="choice", fields=fields)
    assert (golds(task), phrase(task)) == ([1], "as an index from 0")


@pytest.mark.parametrize(
    ("choices", "answers", "right", "how"),
    [
        (NUMERALS, [0, 3, 1], [0, 3, 1], "as an index from 0"),
        (FROM_1, [0, 1, 2], [0, 1, 2], "as an index from 0"),
        (FROM_1, [1, 2, 3], [1, 2, 3], "as an index from 0"),
        (FROM_1, [1, 2, 4], [0, 1, 3], "as the text of a choice"),
        (["7", "8"], [8, 7, 8], [1, 0, 1], "as the text of a choice"),
        (FROM_1, ["1", "2", "3"], [0, 1, 2], "as the text of a choice"),
        (FROM_1, ["0", "1", "3"], [0, 1, 3], "as an index from 0"),
        (WORDS, ["0", "1", "3"], [0, 1, 3], "as an index from 0"),
        (WORDS, ["cat", "red"], [2, 0], "as the text of a choice"),
        (WORDS, ["A", "D", "b"], [0, 3, 1], "as a letter"),
        (["A", "B", "C"], ["C", "A"], [2, 0], "as the text of a choice"),
        ([["B", "A"], WORDS, WORDS], ["A", "C", "A"], [0, 2, 0], "as a letter"),
        ([WORDS, WORDS], ["cat", 1], [2, 1], "in several ways"),
        (WORDS, [2.0, 0.0, 3.0], [2, 0, 3], "as an index from 0"),
        (["7", "8"], [8.0, 7.0], [1, 0], "as the text of a choice"),
        (["1.0", "2.0", "5.0"], [5.0, 1.0], [2, 0], "as the text of a choice"),
        (WORDS, ["(C)", "a.", "D)", "(b):"], [2, 0, 3, 1], "as a letter"),
        (["no", "yes"], [True, False], [1, 0], "as the text of a choice"),
        (["Yes", "No"], [True, False], [0, 1], "as the text of a choice"),
        ([["False", "True"], ["true", "false"]], [True, True], [1, 0], "as the text of a choice"),
    ],
)
def test_the_rows_of_a_file_decide(choices: list, answers: list, right: list[int], how: str, tmp_path: Path) -> None:
    task = load(json_file(tmp_path, choices, answers))
    assert (golds(task), phrase(task)) == (right, how)


@pytest.mark.parametrize(
    ("choices", "answers", "right", "how"),
    [
        (FROM_1, ["0", "1", "2", "3"], [0, 1, 2, 3], "as an index from 0"),
        (FROM_1, ["1", "4", "3"], [0, 3, 2], "as the text of a choice"),
        (NUMERALS, ["0", "3"], [0, 3], "as the text of a choice"),
        ([FROM_1, WORDS], ["1", "3"], [1, 3], "as an index from 0"),
        (WORDS, ["dog", "big"], [3, 1], "as the text of a choice"),
        (WORDS, ["D", "A"], [3, 0], "as a letter"),
        (WORDS, ["2.0", "0.0"], [2, 0], "as an index from 0"),
        (["1.0", "2.0"], ["2.0", "1.0"], [1, 0], "as the text of a choice"),
    ],
)
def test_in_csv_all_is_text(choices: list, answers: list, right: list[int], how: str, tmp_path: Path) -> None:
    task = load(csv_file(tmp_path, choices, answers))
    assert (golds(task), phrase(task)) == (right, how)


@pytest.mark.parametrize(
    ("choices", "answers", "message"),
    [
        (FROM_1, ["1", "2", "3"], r"task\.csv:2: answer '1' may be a choice or an index; say which: --answers choice or --answers index \(all rows of the file fit both\)"),
        (["B", "A"], ["A", "B"], r"task\.csv:2: answer 'A' may be a choice or a letter; say which: --answers choice or --answers letter"),
        ([["2", "0", "1"], WORDS, WORDS], ["1", "cat", "0"], r"task\.csv:2: answer '1' may be given as the text of a choice or as an index from 0, and no way of giving it fits all rows .*; say which with --answers choice or --answers index"),
    ],
)  # fmt: skip
def test_what_stays_ambiguous_is_refused_with_the_cure(
    choices: list, answers: list, message: str, tmp_path: Path
) -> None:
    path = csv_file(tmp_path, choices, answers)
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize("choices", [["cat", "dog"], ["yes", "true"], ["no", "yes", "red"]])
def test_a_boolean_that_does_not_say_which_choice_is_right(choices: list, tmp_path: Path) -> None:
    path = json_file(tmp_path, choices, [True, False])
    with pytest.raises(
        DataError, match=r'answer True is none of .*; say --field answer="{{ answer \| int }}" if false'
    ):
        load(path)
    assert golds(load(path, fields={"answer": "{{ answer | int }}"})) == [1, 0]


@pytest.mark.parametrize(("answers", "right"), [("choice", [0, 1, 2]), ("index", [1, 2, 3])])
def test_the_user_says_which(answers: str, right: list[int], tmp_path: Path) -> None:
    assert golds(load(csv_file(tmp_path, FROM_1, ["1", "2", "3"]), answers=answers)) == right
    cure = {"answer": "{{ answer | int }}" if answers == "index" else "answer"}
    path = json_file(tmp_path, FROM_1, ["1", "2", "3"])
    assert golds(load(path, fields=cure)) == right


def test_letters_where_the_user_says_so(tmp_path: Path) -> None:
    path = json_file(tmp_path, ["B", "A"], ["A", "B"])
    assert golds(load(path, answers="letter")) == [0, 1]
    assert golds(load(path, answers="choice")) == [1, 0]
    with pytest.raises(DataError, match=r"t\.csv:2: answer 'cat' is none of the 4 choices; expected an index from 0"):
        load(csv_file(tmp_path, WORDS, ["cat"], "t.csv"), answers="index")


@pytest.mark.parametrize("make", [json_file, csv_file])
@pytest.mark.parametrize("count", [lambda number: number, str])
def test_answers_that_count_from_1(make: Any, count: Any, tmp_path: Path) -> None:
    path = make(tmp_path, WORDS, [count(number) for number in (1, 4, 2, 3)])
    with pytest.raises(
        DataError,
        match=r"answer '?4'? is none of the 4 choices counted from 0; all numbers given as answer are at least 1, so they seem to count from 1: say --field answer=\"\{\{ \(answer \| int\) - 1 \}\}\"",
    ):
        load(path)
    assert golds(load(path, fields={"answer": "{{ (answer | int) - 1 }}"})) == [0, 3, 1, 2]


def test_a_computed_answer_that_counts_from_1_names_its_own_cure(tmp_path: Path) -> None:
    path = json_file(tmp_path, WORDS, ["n1", "n4"])
    with pytest.raises(DataError, match=r"--field answer=\"\{\{ \(answer\[1:\] \| int \| int\) - 1 \}\}\""):
        load(path, fields={"answer": "{{ answer[1:] | int }}"})
    assert golds(load(path, fields={"answer": "{{ (answer[1:] | int) - 1 }}"})) == [0, 3]


def test_a_first_choice_that_is_never_right_is_said(tmp_path: Path) -> None:
    notes = load(json_file(tmp_path, WORDS, [1, 2, 3] * 4)).notes
    assert notes[-1] == (
        "task.jsonl: the first choice is never right in 12 rows when answer counts from 0; if it counts from 1, say "
        '--field answer="{{ (answer | int) - 1 }}"'
    )
    assert not any("never right" in note for note in load(json_file(tmp_path, WORDS, [1, 2, 3])).notes)
    assert not any("never right" in note for note in load(json_file(tmp_path, WORDS, [0, 2, 3] * 4)).notes)


@pytest.mark.parametrize(
    ("labels", "answer", "gold"), [(["A", "B", "C"], "C", 2), (["1", "2", "3"], "3", 2), (["1", "2", "3"], "1", 0)]
)
def test_choices_with_labels_as_the_hub_has_them(labels: list[str], answer: str, gold: int, tmp_path: Path) -> None:
    choices = {"text": ["3", "1", "2"], "label": labels}
    path = write_lines(tmp_path / "t.jsonl", [{"question": "the cat", "choices": choices, "answer": answer}])
    task = load(path)
    assert (golds(task), phrase(task)) == ([gold], "by the label of a choice")


@pytest.mark.parametrize(
    ("labels", "answers", "right"),
    [
        (("yes", "no"), ["no", "yes"], [1, 0]),
        (("yes", "no"), [1, 0], [1, 0]),
        (("2", "3", "4"), [4, 2], [2, 0]),
        (("B", "A"), ["A", "B"], [1, 0]),
        (("1", "0"), ["0", "1"], [1, 0]),
    ],
)
def test_labels_of_a_task(labels: tuple[str, ...], answers: list, right: list[int], tmp_path: Path) -> None:
    rows = [{"context": f"the {'cat ' * at}", "answer": answer} for at, answer in enumerate(answers)]
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["0", "1", "2", "3", "4", "A", "B"])
    encoder = Encoder(tokenizer, 128)
    task = load_task(str(write_lines(tmp_path / "t.jsonl", rows)), encoder, {"labels": labels})
    assert golds(task) == right


def test_a_number_that_is_a_label_and_the_index_of_another(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", [{"context": "the cat", "answer": 1}, {"context": "a dog", "answer": 0}])
    with pytest.raises(DataError, match=r"t\.jsonl:1: answer 1 may be a name or an index; write it as text to mean the name, or say which: --answers choice or --answers index"):  # fmt: skip
        load(path, labels=("1", "0"))
    assert golds(load(path, labels=("1", "0"), answers="index")) == [1, 0]
    assert golds(load(path, labels=("1", "0"), answers="choice")) == [0, 1]
    assert golds(load(path, labels=("1", "0"), fields={"answer": "{{ answer }}"})) == [1, 0]
