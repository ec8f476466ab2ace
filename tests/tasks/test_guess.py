"""What a file is for, by its columns: recognised, completed, or refused in one message that names all that is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.rows import write_lines
from support.words import word_tokenizer
from transformers import BertConfig, BertModel

from tapioca.errors import DataError, ModelError
from tapioca.models.load import LoadedModel
from tapioca.session.data import read_task
from tapioca.tasks.choice import Choice, Label
from tapioca.tasks.classify import Classify
from tapioca.tasks.files import load_task
from tapioca.tasks.perplexity import Perplexity
from tapioca.tasks.text import Encoder

TEXTS = ["the cat", "a dog", "the dog sat", "a cat ran", "the cat ran on", "a dog sat on"]


def load(path: Path, heads: tuple[str, ...] | None = None, **given: Any) -> Any:
    return load_task(str(path), Encoder(word_tokenizer(), 128, heads), given)


def table(folder: Path, columns: dict[str, list]) -> Path:
    """A JSON Lines file of some columns."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return write_lines(folder / "t.jsonl", rows)


def golds(task: Any) -> list[int]:
    return [example.gold for example in task.examples]


@pytest.mark.parametrize(
    ("columns", "kind", "right", "prompt", "balance"),
    [
        ({"id": range(6), "text": TEXTS, "queue": ["yes", "no"] * 3}, Label, [1, 0] * 3, "the cat\nQueue:", {"no": 3, "yes": 3}),
        ({"text": TEXTS, "category": ["yes no", "no"] * 3}, Choice, [1, 0] * 3, "the cat\nCategory:", {"no": 3, "yes no": 3}),
        ({"text": TEXTS, "label": [10, 9, 10] * 2}, Label, [1, 0, 1] * 2, "the cat\nLabel:", {"9": 2, "10": 4}),
        ({"text": TEXTS, "label": [1.0, 0.0] * 3}, Label, [1, 0] * 3, "the cat\nLabel:", {"0": 3, "1": 3}),
        ({"review": TEXTS, "sentiment": ["no", "yes"] * 3}, Label, [0, 1] * 3, "the cat\nSentiment:", {"no": 3, "yes": 3}),
        ({"Message": TEXTS, "Category": ["no", "yes"] * 3}, Label, [0, 1] * 3, "the cat\nCategory:", {"no": 3, "yes": 3}),
        ({"text": TEXTS, "lang": ["a", "the"] * 3, "intent": ["no", "yes"] * 3}, Label, [0, 1] * 3, "the cat\nIntent:", {"no": 3, "yes": 3}),
        ({"question": TEXTS, "answer": ["no", "yes"] * 3}, Label, [0, 1] * 3, "Question: the cat\nAnswer:", {"no": 3, "yes": 3}),
        ({"text": TEXTS, "spam_or_not": ["no", "yes"] * 3}, Label, [0, 1] * 3, "the cat\nSpam or not:", {"no": 3, "yes": 3}),
    ],
)  # fmt: skip
def test_a_column_of_few_values_is_the_answer(
    tmp_path: Path, columns: dict, kind: type, right: list[int], prompt: str, balance: dict
) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["0", "1", "9", "10"])
    task = load_task(str(table(tmp_path, columns)), Encoder(tokenizer, 128), {})
    assert type(task) is kind
    assert golds(task) == right
    assert (task.examples[0].text, task.label_counts) == (prompt, balance)


def test_what_is_guessed_is_said(tmp_path: Path) -> None:
    task = load(table(tmp_path, {"text": TEXTS, "queue": ["yes no", "no", "cat"] * 2}))
    assert list(task.notes[:3]) == [
        "t.jsonl: read as a choice task, by its field text, answer is 'queue'",
        "t.jsonl: labels of several tokens are compared as choices, whole and by their length",
        "t.jsonl: 3 labels read off 'queue': cat, no, yes no; --label names others, --kind perplexity scores the text alone",
    ]


def test_labels_that_are_given_name_a_column_of_numbers(tmp_path: Path) -> None:
    task = load(table(tmp_path, {"text": TEXTS, "label": [0, 1] * 3}), labels=("no", "yes"))
    assert (type(task), golds(task), task.label_counts) == (Label, [0, 1] * 3, {"no": 3, "yes": 3})
    task = load(table(tmp_path, {"text": TEXTS, "label": ["cat dog", "no"] * 3}), labels=("no", "cat dog"))
    assert (type(task), golds(task)) == (Choice, [1, 0] * 3)


@pytest.mark.parametrize(
    "columns",
    [
        {"A": ["sat"] * 6, "B": ["ran"] * 6, "C": ["on"] * 6},
        {"option1": ["sat"] * 6, "option2": ["ran"] * 6},
        {"ending_0": ["sat"] * 6, "ending_1": ["ran"] * 6},
    ],
)
def test_choices_in_columns_of_their_own(tmp_path: Path, columns: dict) -> None:
    task = load(table(tmp_path, {"question": TEXTS, **columns, "answer": ["A", "B"] * 3}))
    assert (golds(task), len(task.examples[0].rows)) == ([0, 1] * 3, len(columns))


def test_choices_with_labels_and_an_answer_key(tmp_path: Path) -> None:
    choices = {"text": ["sat", "ran"], "label": ["1", "2"]}
    task = load(table(tmp_path, {"question": TEXTS, "choices": [choices] * 6, "answerKey": ["2", "1"] * 3}))
    assert golds(task) == [1, 0] * 3


@pytest.mark.parametrize(
    ("name", "separator", "told"),
    [
        ("t.csv", ";", ["t.csv: columns read as separated by semicolons"]),
        ("t.csv", "\t", ["t.csv: columns read as separated by tabs"]),
        ("t.csv", ",", []),
        ("t.tsv", "\t", []),
    ],
)
def test_a_separator_that_was_guessed_is_said(tmp_path: Path, name: str, separator: str, told: list[str]) -> None:
    lines = [("text", "queue"), *zip(TEXTS, ["yes", "no"] * 3, strict=True)]
    (tmp_path / name).write_text("".join(f"{separator.join(cells)}\n" for cells in lines))
    assert [note for note in load(tmp_path / name).notes if "separated" in note] == told


def test_text_alone_is_running_text_and_other_text_where_told(tmp_path: Path) -> None:
    assert isinstance(load(table(tmp_path, {"id": range(6), "text": TEXTS})), Perplexity)
    path = table(tmp_path, {"text": TEXTS, "queue": ["yes", "no"] * 3})
    assert isinstance(load(path, kind="perplexity"), Perplexity)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": TEXTS, "url": [f"u{n}" for n in range(6)]}, ["'url' (6 values)", "--field answer=COLUMN --label NAME", "--kind perplexity (running text)"]),
        ({"text": TEXTS, "topic": ["a", "b"] * 3, "label": ["yes", "no"] * 3}, ["'topic' (a, b)", "'label' (no, yes)", "--field answer=COLUMN"]),
        ({"sentence1": TEXTS, "sentence2": TEXTS[::-1], "label": [0, 1] * 3}, ["--template \"{{ row['sentence1'] }} {{ row['sentence2'] }}\" --field answer=label", "--kind generate"]),
        ({"context": TEXTS, "question": TEXTS, "answers": [{"text": ["cat"]}] * 6}, ['--kind generate --field answer="{{ answers.text }}"']),
        ({"title": TEXTS, "score": [0.5, 0.1] * 3}, ["--field text=title", "--kind perplexity --field text=title"]),
    ],
)  # fmt: skip
def test_what_stays_unclear_is_told_in_one_message(tmp_path: Path, columns: dict, said: list[str]) -> None:
    with pytest.raises(DataError, match=r"t\.jsonl: cannot tell the kind of task from the fields ") as caught:
        load(table(tmp_path, columns))
    assert not [part for part in said if part not in str(caught.value)]
    assert "\n" not in str(caught.value)


def test_all_that_a_kind_lacks_is_named_at_once(tmp_path: Path) -> None:
    path = table(tmp_path, {"name": TEXTS, "note": TEXTS})
    with pytest.raises(
        DataError, match=r"a choice task lacks the prompt \(.*\); answer \(.*\); choices \(.*--label NAME"
    ):
        load(path, kind="choice")


def test_a_classification_head_finds_its_label(tmp_path: Path) -> None:
    task = load(table(tmp_path, {"text": TEXTS, "queue": ["b", "a"] * 3}), heads=("a", "b"))
    assert (type(task), golds(task), task.label_counts) == (Classify, [1, 0] * 3, {"a": 3, "b": 3})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
        ("Question", "Sentence"), ("query", "passage"), ("Title 1", "Title 2"), ("s1", "s2"),
    ],
)  # fmt: skip
def test_a_head_finds_a_pair_of_texts(tmp_path: Path, first: str, second: str) -> None:
    path = table(tmp_path, {"idx": range(6), first: TEXTS, second: TEXTS[::-1], "gold_label": ["b", "a"] * 3})
    task = load(path, heads=("a", "b"))
    assert (type(task), golds(task)) == (Classify, [1, 0] * 3)
    assert task.examples[0].text == "the cat\na dog sat on"
    assert task.notes[0] == (
        f"t.jsonl: read as a classify task, text is '{first}', text_pair is '{second}', label is 'gold_label'"
    )
    with pytest.raises(DataError) as caught:
        load(path)
    assert f"--template \"{{{{ row['{first}'] }}}} {{{{ row['{second}'] }}}}\" --field answer=gold_label" in str(
        caught.value
    )


def test_ids_of_texts_are_no_pair_and_a_head_of_one_number_is_told_of_its_pair(tmp_path: Path) -> None:
    columns = {"qid1": [*"123456"], "qid2": [*"456789"], "s1": TEXTS, "s2": TEXTS[::-1]}
    task = load(table(tmp_path, {**columns, "is_duplicate": ["1", "0"] * 3}), heads=("a", "b"))
    assert task.notes[0].endswith("text is 's1', text_pair is 's2', label is 'is_duplicate'")
    path = table(tmp_path, {**columns, "similar": [0.5, 0.25] * 3})
    with pytest.raises(DataError, match=r"head say --field text=s1 --field text_pair=s2 --field label=COLUMN"):
        load(path, heads=("only",))
    assert len(load(path, heads=("only",), fields={"label": "similar"}).examples) == 6


def test_a_column_named_as_the_answer_is_named_where_it_has_one_value(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": TEXTS, "queue": ["yes"] * 6})
    with pytest.raises(DataError, match=r"say one of: --field answer=queue --label NAME --label NAME"):
        load(path)
    assert load(path, labels=("no", "yes")).label_counts == {"yes": 6}


@pytest.mark.parametrize(
    "columns",
    [
        {"title1": TEXTS, "title2": TEXTS[::-1], "body1": TEXTS, "body2": TEXTS[::-1]},
        {"sentence1": TEXTS, "sentence2": TEXTS[::-1], "sentence3": TEXTS},
    ],
)
def test_texts_that_are_no_pair_are_not_guessed(tmp_path: Path, columns: dict) -> None:
    with pytest.raises(DataError, match=r"for a classification head say --field text=COLUMN \(and --field text_pair="):
        load(table(tmp_path, {**columns, "label": ["b", "a"] * 3}), heads=("a", "b"))


def test_a_bare_encoder_is_told_that_it_has_no_head(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    path = table(tmp_path, {"text": TEXTS})
    with pytest.raises(
        ModelError, match=r"this bert model \(BertModel\) has no classification head and no language-model"
    ):
        read_task(str(path), LoadedModel(BertModel(config), word_tokenizer()), {})
