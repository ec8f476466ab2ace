"""Files become tasks: what is guessed, what is right, and one clear line for everything else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

from tapioca.errors import DataError, TapiocaError
from tapioca.evaluate import evaluate
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.tasks.choice import ACCURACY, GOLD_LOSS, Choice, Label
from tapioca.tasks.files import load_task
from tapioca.tasks.perplexity import Perplexity
from tapioca.tasks.regress import Regression
from tapioca.tasks.text import Encoder

ROW = {"context": "the cat", "choices": ["sat", "ran on"], "answer": 0}


def load(path: Path, **given: Any) -> Any:
    return load_task(str(path), Encoder(word_tokenizer(), 128), given)


def one(tmp_path: Path, row: dict, **given: Any) -> Any:
    return load(write_lines(tmp_path / "task.jsonl", [row]), **given)


def test_choices(tmp_path: Path) -> None:
    task = one(tmp_path, {**ROW, "id": "x", "group": "g"})
    assert isinstance(task, Choice)
    example = task.examples[0]
    assert (example.id, example.group, example.gold, example.chance, example.text) == ("x", "g", 0, 0.5, "the cat")
    assert [row.inputs for row in example.rows] == [(1, 3, 5), (1, 3, 5, 8)]
    assert [row.targets for row in example.rows] == [(7,), (8, 9)]
    assert [row.normalizer for row in example.rows] == [3, 6]
    assert example.prompt == (1, 3, 5)
    assert task.notes[0] == "task.jsonl: read as a choice task, by its fields answer, choices, context"


@pytest.mark.parametrize(
    ("normalize", "lengths"), [("none", [1, 1]), ("tokens", [1, 2]), ("characters", [3, 6]), ("bytes", [3, 6])]
)
def test_normalisation(tmp_path: Path, normalize: str, lengths: list[int]) -> None:
    assert [row.normalizer for row in one(tmp_path, ROW, normalize=normalize).examples[0].rows] == lengths


def test_bytes_are_not_characters(tmp_path: Path) -> None:
    row = {**ROW, "choices": ["é", "ran"]}
    assert one(tmp_path, row, normalize="bytes").examples[0].rows[0].normalizer == 2
    assert one(tmp_path, row, normalize="characters").examples[0].rows[0].normalizer == 1


def test_questions_get_the_usual_prompt(tmp_path: Path) -> None:
    task = one(tmp_path, {"question": "the cat", "choices": ["yes", "no"], "answer": "no"})
    assert task.examples[0].text == "Question: the cat\nAnswer:"
    assert task.examples[0].gold == 1


@pytest.mark.parametrize(("answer", "gold"), [(1, 1), ("1", 1), ("B", 1), ("b", 1), ("ran on", 1), ("sat", 0)])
def test_answers_by_index_letter_or_text(tmp_path: Path, answer: object, gold: int) -> None:
    assert one(tmp_path, {**ROW, "answer": answer}).examples[0].gold == gold


@pytest.mark.parametrize("answer", [2, -1, "C", "sit", None, 0.5, True, [], {}, "", "²"])
def test_an_answer_that_is_no_choice(tmp_path: Path, answer: object) -> None:
    with pytest.raises(DataError, match=r"task\.jsonl:1: answer .* is none of the 2 choices"):
        one(tmp_path, {**ROW, "answer": answer})


@pytest.mark.parametrize("choices", [[], ["sat"], ["sat", "sat"], ["sat", ""], ["sat", 3], "sat", None])
def test_choices_that_are_none(tmp_path: Path, choices: object) -> None:
    with pytest.raises(DataError, match=r"task\.jsonl:1: .*choices"):
        one(tmp_path, {**ROW, "choices": choices})


def test_mapping_and_template(tmp_path: Path) -> None:
    row = {"story": "the dog", "ends": ["sat", "ran"], "gold": 1}
    names = {"context": "story", "choices": "ends", "answer": "gold"}
    task = one(
        tmp_path, row, fields=names, template="Question : {{ story }} {{ context }}", continuation=" then {{ choice }}"
    )
    assert task.examples[0].text == "Question : the dog the dog"
    assert task.examples[0].rows[0].targets == (13, 7)


def test_labels(tmp_path: Path) -> None:
    task = one(tmp_path, {"text": "the cat sat", "answer": "no"}, labels=("yes", "no"), template="{{ text }} Answer :")
    assert isinstance(task, Label)
    row = task.examples[0].rows[0]
    assert row.inputs == (1, 3, 5, 7, 22, 21)
    assert row.targets == (23, 24)
    assert task.examples[0].gold == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW, {}),
        ({"text": "the cat sat", "answer": "no"}, {"labels": ("yes", "no"), "template": "{{ text }} Answer :"}),
    ],
)
def test_accuracy_stands_beside_a_likelihood(tmp_path: Path, row: dict, said: dict) -> None:
    right, likely = (one(tmp_path, row, score=score, **said) for score in ("accuracy", "likelihood"))
    assert (right.metric, likely.metric, likely.companion.metric) == (ACCURACY, GOLD_LOSS, ACCURACY)
    assert right.companion is None
    found, expected = (evaluate(tiny("llama"), task, [Plan.full(4)]) for task in (likely.companion, right))
    assert np.array_equal(found.values, expected.values)


def test_labels_of_several_tokens_are_refused(tmp_path: Path) -> None:
    row, labels = {"text": "the cat", "answer": 0}, ("yes no", "one", "cat dog sat")
    with pytest.raises(
        DataError,
        match=r"label ' yes no' is 2 tokens, ' cat dog sat' is 3 tokens by the tokenizer; .* use kind: choice",
    ):
        one(tmp_path, row, kind="label", labels=labels, template="{{ text }}")
    task = one(tmp_path, row, labels=labels, template="{{ text }}")
    assert isinstance(task, Choice)
    assert [len(row.targets) for row in task.examples[0].rows] == [2, 1, 3]


def test_text_is_cut_into_windows_that_cover_every_token_once(tmp_path: Path) -> None:
    task = one(tmp_path, {"text": "the a cat dog sat ran on", "id": "d"}, window=3)
    assert isinstance(task, Perplexity)
    assert [row.inputs for e in task.examples for row in e.rows] == [(1, 3, 4), (5, 6, 7), (8,)]
    assert [t for e in task.examples for row in e.rows for t in row.targets] == [3, 4, 5, 6, 7, 8, 9]
    assert [e.id for e in task.examples] == ["d#0", "d#1", "d#2"]
    assert {e.group for e in task.examples} == {task.examples[0].group}
    assert task.weights.tolist() == [3, 3, 1]


def test_numbers(tmp_path: Path) -> None:
    x = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    task = one(tmp_path, {"x": x, "y": [1.0] * 7, "targets": [2.0] * 7})
    assert isinstance(task, Regression)
    assert task.examples[0].rows[0].inputs.shape == (13, 2)
    assert task.examples[0].rows[0].inputs[:4].tolist() == [
        [pytest.approx(0.1), 0],
        [1, 1],
        [pytest.approx(0.2), 0],
        [1, 1],
    ]
    assert task.examples[0].rows[0].targets == (2.0, 2.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"x": [1, 2]},
        {"x": [1] * 6, "y": [1] * 7},
        {"x": [1] * 3, "y": [1] * 3},
        {"x": [math.inf] * 7, "y": [1] * 7},
        {"x": "abc", "y": [1] * 7},
    ],
)
def test_numbers_that_are_none(tmp_path: Path, fields: dict) -> None:
    with pytest.raises(DataError, match=r"task\.jsonl:1"):
        one(tmp_path, fields, kind="regression")


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "task.csv"
    path.write_text('context,choices,answer\nthe cat,"[""sat"", ""ran""]",ran\n"the dog, it","[""sat"", ""ran""]",0\n')
    task = load(path)
    assert [example.gold for example in task.examples] == [1, 0]
    assert task.examples[1].text == "the dog, it"


def test_equal_rows_are_told_apart(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", [{**ROW, "answer": at} for at in (0, 1, 0)])
    task = load(path)
    first, other, again = task.examples
    assert (again.id, again.group) == (f"{first.id}#2", first.group)
    assert other.group != first.group
    assert task.notes[-1] == "task.jsonl: 1 rows say the same as an earlier one; each is kept, in one group with it"
    examples = load(path, fields={"id": "{{ 'r%d' % row_number }}"}).examples
    assert [example.id for example in examples] == ["r0", "r1", "r2"]
    assert examples[0].group == examples[2].group != examples[1].group


BAD = [
    {**ROW, "id": "a"},
    {**ROW, "id": "b", "choices": ["sat", "sat"]},
    {**ROW, "id": "c", "answer": None},
    {**ROW, "id": "d", "context": "the " * 200},
    {**ROW, "id": "e", "choices": ["sat", " sat"]},
]


def test_bad_rows_are_refused_in_one_line_or_skipped_and_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", BAD)
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value).replace(f"{tmp_path}/", "")
    assert message.startswith(
        "task.jsonl: 4 of 5 rows cannot be used: 2 with two choices that are the same (task.jsonl:2:"
    )
    assert "1 without a usable answer (task.jsonl:3: answer None" in message
    assert "1 longer than the model can read (task.jsonl:4: " in message
    assert message.endswith("mend the file, or leave such rows out with --skip-bad-rows")
    task = load(path, skip_bad_rows=True)
    assert [example.id for example in task.examples] == ["a"]
    assert task.skipped == {
        "with two choices that are the same": 2, "without a usable answer": 1, "longer than the model can read": 1,
    }  # fmt: skip
    assert task.notes[-1].startswith("task.jsonl: 4 of 5 rows skipped: 2 with two choices that are the same, ")


def test_rows_that_are_too_long_are_skipped_where_told(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", [BAD[0], BAD[3]])
    with pytest.raises(DataError, match=r"task\.jsonl:2: 201 tokens.*leave such rows out with --too-long skip"):
        load(path)
    assert load(path, too_long="skip").skipped == {"longer than the model can read": 1}


def test_blank_rows_of_running_text_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", [{"text": text} for text in ("the cat", "", " ", None, "a dog")])
    task = load(path)
    assert ([example.text for example in task.examples], task.skipped) == (["the cat", "a dog"], {"blank": 3})
    assert task.notes[-1] == "task.jsonl: 3 of 5 rows skipped: 3 blank"
    with pytest.raises(DataError, match=r"task\.jsonl:1: field 'text' must be some text, got ''"):
        one(tmp_path, {"text": ""})


def test_columns_whose_names_hold_spaces(tmp_path: Path) -> None:
    row = {"the question": "the cat", "Correct Answer": "sat", "Incorrect Answer 1": "ran"}
    fields = {"choices": "{{ [row['Correct Answer'], row['Incorrect Answer 1']] }}", "answer": "{{ 0 }}"}
    [example] = one(tmp_path, row, kind="choice", fields=fields, template="{{ row['the question'] }} it").examples
    assert (example.text, example.gold, [row.targets for row in example.rows]) == ("the cat it", 0, [(7,), (8,)])


def test_several_right_answers(tmp_path: Path) -> None:
    row = {"context": "the cat", "choices": ["sat", "ran", "it"], "answer": ["ran", "it"]}
    [example] = one(tmp_path, row).examples
    assert (example.golds, example.chance) == ((1, 2), 2 / 3)
    [example] = one(tmp_path, {**row, "answer": [0, 2]}).examples
    assert example.golds == (0, 2)


def test_a_yaml_beside_the_data_and_flags_that_win(tmp_path: Path) -> None:
    write_lines(tmp_path / "task.jsonl", [{"story": "the cat", "choices": ["sat", "ran"], "answer": 0}])
    (tmp_path / "task.yaml").write_text("fields: {context: story}\nnormalize: tokens\n")
    assert load(tmp_path / "task.jsonl").examples[0].rows[0].normalizer == 1
    assert load(tmp_path / "task.jsonl", normalize="characters").examples[0].rows[0].normalizer == 3
    (tmp_path / "other.yaml").write_text("data: task.jsonl\nfields: {context: story}\n")
    assert len(load(tmp_path / "other.yaml").examples) == 1


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("kind: guess", "kind"),
        ("colour: red", "colour"),
        ("[1, 2]", "names and values"),
        ("a: [", "expected the node content"),
        ("window: 1", "window"),
    ],
)
def test_a_yaml_that_says_nonsense(tmp_path: Path, yaml: str, message: str) -> None:
    write_lines(tmp_path / "task.jsonl", [ROW])
    (tmp_path / "task.yaml").write_text(yaml)
    with pytest.raises(DataError, match=rf"task\.yaml.*{message}"):
        load(tmp_path / "task.jsonl")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ missing }}", "'missing' is undefined"),
        ("{{ context", "unexpected end"),
        ("{{ context.__class__.__mro__ }}", "unsafe"),
        ("{{ 1/0 }}", "zero"),
    ],
)
def test_templates_that_do_not_fit(tmp_path: Path, template: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        one(tmp_path, ROW, template=template)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"\n\n", "has no rows"),
        (b'{"a": 1}\n{"a"', r"task\.jsonl:2: not a JSON object"),
        (b"[1]\n", r"task\.jsonl:1: expected a JSON object with named fields, got list"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": 1}\n', "cannot tell the kind of task from the fields 'a'"),
        (b"[" * 100_000, r"task\.jsonl:1: not a JSON object"),
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "task.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "task.jsonl")


def test_more_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"cannot read '.xlsx' files; expected .jsonl, .json, .csv, .tsv, .parquet"):
        load(tmp_path / "task.xlsx")
    with pytest.raises(DataError, match="id 'r0' stands twice"):
        load(write_lines(tmp_path / "twice.jsonl", choice_rows(2) + choice_rows(1)))
    with pytest.raises(DataError, match=r"some\.jsonl:2: no field 'answer'"):
        load(write_lines(tmp_path / "some.jsonl", [ROW, {"context": "a", "choices": ["sat", "ran"]}]))
    with pytest.raises(DataError, match="the model has no tokenizer"):
        load_task(str(write_lines(tmp_path / "t.jsonl", [ROW])), None, {})
    (tmp_path / "ragged.csv").write_text("context,choices,answer\nthe cat,x\n")
    with pytest.raises(DataError, match=r"ragged\.csv:2: expected 3 columns"):
        load(tmp_path / "ragged.csv")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6
)  # fmt: skip
NAMES = st.sampled_from(
    ["context", "question", "choices", "answer", "text", "x", "y", "targets", "id", "group", "other"]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(NAMES, JSON | st.lists(st.text(max_size=5), max_size=3), max_size=6), max_size=4),
    st.booleans(),
)
def test_any_rows_are_a_task_or_one_clear_line(tmp_path: Path, rows: list[dict], raw: bool) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        load(path, **({"kind": "choice", "template": "{{ other }}"} if raw else {}))
    except TapiocaError as error:
        assert "\n" not in str(error)


SAID = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["choice", "label", "generate", "classify", "perplexity", "regression", "none"]) | JSON,
        "fields": st.dictionaries(NAMES, NAMES | st.sampled_from(["{{ answer }}", "{{ x.y }}", "{{ 1 +", "{{ }}"]))
        | JSON,
        "template": st.sampled_from(["{{ context }}", "{{ nothing }}", "{% if", "{{ other * 9 }}"]) | JSON,
        "continuation": st.sampled_from(["{{ choice }}", " ", ""]) | JSON,
        "labels": st.lists(st.sampled_from(["yes", "no", "", "a cat"]), max_size=3) | JSON,
        "normalize": st.sampled_from(["none", "tokens", "letters"]) | JSON,
        "window": st.integers(-1, 9) | JSON,
        "extract": st.sampled_from(["(", "a", ""]) | JSON,
        "stop": JSON,
        "max_new_tokens": st.integers(-1, 9) | JSON,
        "other": JSON,
    },
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "context": st.sampled_from(["the cat", "", " "]) | JSON,
            "choices": st.lists(st.sampled_from(["sat", "ran", "yes", ""]), max_size=3) | JSON,
            "answer": st.integers(-1, 3) | st.sampled_from(["sat", "A", "z"]) | JSON,
            "text": st.sampled_from(["the cat sat", ""]) | JSON,
            "other": JSON,
        },
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(SAID, ROWS)
@example({"kind": "choice", "fields": {"\n": None}}, [{}])
def test_any_mapping_is_a_task_or_one_clear_line(tmp_path: Path, said: dict, rows: list[dict]) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path.with_suffix(".yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    try:
        load(path)
    except TapiocaError as error:
        assert "\n" not in str(error)


def test_the_real_cloze_file(shared: Path) -> None:
    from transformers import AutoTokenizer

    encoder = Encoder(AutoTokenizer.from_pretrained(shared / "models" / "stories260K"), 512)
    task = load_task(str(shared / "data" / "cloze" / "tinystories.jsonl"), encoder, {})
    assert len(task.examples) == 2000
    assert len(set(task.groups)) < 2000
    assert all(len(example.rows) == 4 for example in task.examples)
