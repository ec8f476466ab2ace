"""Hub data sets, Parquet files, and the tasks that are ready by name, on rows in the form the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from support.ready_rows import READY_ROWS
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.cli.main import main
from tapioca.errors import DataError
from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import Generate
from tapioca.tasks.rows import read_rows
from tapioca.tasks.text import Encoder

CARD = """---
configs:
- config_name: default
  data_files:
  - split: validation
    path: default/validation-*
---
"""

GOLD = {
    "arc_easy": [2],
    "arc_challenge": [2],
    "boolq": [1, 0],
    "mmlu": [2],
    "commonsense_qa": [1],
    "winogrande": [1],
    "bbh_boolean_expressions": [0, 1],
}


@pytest.fixture
def encoder() -> Encoder:
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["False", "True", "Value", "12.5", "3", "4"])
    return Encoder(tokenizer, 4096)


def ready(name: str, encoder: Encoder, folder: Path) -> Any:
    """A task of the catalog, its data taken from a file instead of the hub."""
    data = folder / f"{name}.parquet"
    Dataset.from_list(READY_ROWS[name]).to_parquet(data)
    return load_task(name, encoder, {"data": str(data)})


def test_every_ready_task_has_its_rows() -> None:
    assert {name for name in CATALOG if "/" not in name} == set(READY_ROWS)


@pytest.mark.parametrize("name", sorted(GOLD))
def test_ready_choices_have_the_right_answer(name: str, encoder: Encoder, tmp_path: Path) -> None:
    task = ready(name, encoder, tmp_path)
    assert [example.gold for example in task.examples] == GOLD[name]
    assert all(example.chance == 1 / max(2, len(example.rows)) for example in task.examples)


def test_ready_prompts(encoder: Encoder, tmp_path: Path) -> None:
    texts = {name: ready(name, encoder, tmp_path).examples[0].text for name in sorted(READY_ROWS)}
    assert texts["arc_easy"] == "Question: the cat sat on\nAnswer:"
    assert texts["boolq"] == "the dog was big .\nQuestion: was it big?\nAnswer:"
    assert texts["mmlu"] == "The following is a question about college biology.\n\nthe cat sat on\nAnswer:"
    assert texts["winogrande"] == "the cat sat on the dog and "
    assert texts["bbh_boolean_expressions"] == "Evaluate the expression.\n\nExpression: yes and no\nValue:"
    assert texts["math500"].endswith("Put the final answer in \\boxed{}.\nSolution:")


def test_winogrande_scores_the_option_and_all_that_follows(encoder: Encoder, tmp_path: Path) -> None:
    [example] = ready("winogrande", encoder, tmp_path).examples
    words = [encoder.tokenizer.decode([int(token) for token in row.targets]) for row in example.rows]
    assert words == ["the cat was big .", "the dog was big ."]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("gsm8k_hard", "so it is 12.5", "so it is 12"),
        ("math500", "so \\boxed{\\frac{3}{4}}", "so \\boxed{4}"),
        ("math500", "so \\boxed{0.75}", "so \\boxed{\\frac{4}{3}}"),
    ],
)
def test_ready_written_answers(name: str, right: str, wrong: str, encoder: Encoder, tmp_path: Path) -> None:
    task = ready(name, encoder, tmp_path)
    assert isinstance(task, Generate)
    assert task.marking.is_right(right, task.examples[0].answer)
    assert not task.marking.is_right(wrong, task.examples[0].answer)


def test_a_folder_the_datasets_library_loads(tmp_path: Path, encoder: Encoder) -> None:
    for split in ("validation", "test"):
        Dataset.from_list([{**row, "id": split} for row in READY_ROWS["arc_easy"]]).to_parquet(
            tmp_path / "set" / f"{split}.parquet"
        )
    [row] = read_rows(Path(f"hub:{tmp_path / 'set'}"))
    assert row.fields["id"] == "validation"
    assert row.where.endswith("validation row 0")
    [row] = read_rows(Path(f"hub:{tmp_path / 'set'},split=test"))
    assert row.fields["id"] == "test"
    said = {"kind": "choice", "fields": {"choices": "{{ choices.text }}", "answer": "answerKey"}}
    assert load_task(f"hub:{tmp_path / 'set'}", encoder, said).examples[0].gold == 2


def test_a_folder_is_read_as_it_is_now_whatever_others_of_its_name_hold(tmp_path: Path) -> None:
    def write(place: str, count: int) -> Path:
        folder = tmp_path / place / "set"
        Dataset.from_list([{"text": "it"}] * count).to_parquet(folder / "default" / "validation-0.parquet")
        (folder / "README.md").write_text(CARD)
        return Path(f"hub:{folder}")

    assert [len(read_rows(write(place, count))) for place, count in [("a", 3), ("b", 5), ("a", 7)]] == [3, 5, 7]


def test_only_a_test_split_must_be_asked_for(tmp_path: Path) -> None:
    Dataset.from_list(READY_ROWS["arc_easy"]).to_parquet(tmp_path / "set" / "test.parquet")
    with pytest.raises(DataError, match=r"which split\? say hub:.*,split=\.\.\.; known: test"):
        read_rows(Path(f"hub:{tmp_path / 'set'}"))


def test_a_data_set_that_is_not_there() -> None:
    with pytest.raises(DataError, match="no data set 'nobody/nothing': neither a folder here nor"):
        read_rows(Path("hub:nobody/nothing"))


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing else"])
def test_a_broken_parquet_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*data\.parquet: .*Parquet"):
        read_rows(tmp_path / "data.parquet")
    with pytest.raises(DataError, match=r"cannot read .*none\.parquet: No such file"):
        read_rows(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("{{ choices.texts }}", r"field '\{\{ choices\.texts \}\}' does not fit the row: there is no choices\.texts"),
        ("{{ choices.label.index('Z') }}", "does not fit the row: 'Z' is not in list"),
        ("{{ choices.text", r"does not fit the row: it does not end with \}\}"),
        ("{{ ''.__class__.__mro__ }}", "does not fit the row: .*unsafe"),
    ],
)
def test_expressions_that_do_not_fit(expression: str, message: str, encoder: Encoder, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "data.jsonl", READY_ROWS["arc_easy"])
    with pytest.raises(DataError, match=message):
        load_task(str(data), encoder, {"kind": "choice", "fields": {"choices": expression, "answer": "answerKey"}})


def test_the_list_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in CATALOG)


def test_a_task_shown_token_by_token(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"context": "the cat", "choices": ["sat", "ran"], "answer": 1}
    data = write_lines(tmp_path / "data.jsonl", [row, {**row, "context": "a dog"}])
    assert main(["tasks", str(data), "--model", str(model_folder)]) == 0
    out = capsys.readouterr().out
    assert "2 examples, measured by accuracy, chance 50.0 %" in out
    assert "read   1:␣<s> 3:␣the 5:␣cat" in out
    assert "scored 7:␣sat" in out
    data.with_suffix(".yaml").write_text("score: likelihood\n")
    assert main(["tasks", str(data), "--model", str(model_folder)]) == 0
    assert "measured by gold answer's negative log-likelihood\n" in capsys.readouterr().out
    assert main(["tasks", str(data)]) == 2
    assert "say which with --model" in capsys.readouterr().err
