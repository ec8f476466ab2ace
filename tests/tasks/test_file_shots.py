"""Worked examples in prompts of own tasks tell no answer that is held out, nor that of the row itself or of its group."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.rows import write_lines
from support.words import word_tokenizer
from typer.testing import CliRunner

import tapioca
from tapioca.cli.main import app
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.records import Example
from tapioca.records.results import Domain
from tapioca.runs.folder import read_manifest
from tapioca.session.context import digest_examples
from tapioca.session.data import read_tasks, split_tasks
from tapioca.tasks.base import Task
from tapioca.tasks.chat import Clock
from tapioca.tasks.file_shots import FileShots, Pool

CHAT = "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}{% if add_generation_prompt %}Answer :{% endif %}"
CHOICES = ["the cat", "a big dog", "one red mat", "it"]
KINDS: dict[str, dict[str, Any]] = {
    "choice": {"kind": "choice"},
    "label": {"kind": "label", "labels": ["yes", "no"]},
    "generate": {"kind": "generate", "max_new_tokens": 2},
}
NEVER = "the row itself, rows of its group or its text, and held-out rows are never shown"


def question(number: int) -> str:
    """Nine words of which no other number has the same."""
    return " ".join("big" if bit == "1" else "red" for bit in f"{number:09b}")


def rows(kind: str, numbers: range, group: int = 1) -> list[dict[str, Any]]:
    """Rows that ask by their number, so many of them to a group."""
    answers = {"choice": CHOICES, "label": ["yes", "no"], "generate": ["cat", "dog"]}[kind]
    more = {"choices": CHOICES} if kind == "choice" else {}
    return [
        {"context": f"the {question(number)} :", "answer": answers[number % len(answers)], **more}
        | ({"group": f"g{number // group}"} if group > 1 else {})
        for number in numbers
    ]


def divided(
    folder: Path, name: str, data: list[dict[str, Any]], chat: bool = False, **said: Any
) -> tuple[dict[str, Task], dict[Domain, Task], dict[Domain, Task]]:
    """The data sets of a run and their halves, as every command makes them."""
    path = write_lines(folder / "task.jsonl", data)
    spec = {**KINDS[name], "num_fewshot": 3, "chat": chat, **said}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(spec))
    return split_files(path, reference=None)


def split_files(path: Path, **options: Any) -> tuple[dict[str, Task], dict[Domain, Task], dict[Domain, Task]]:
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    assert loaded.tokenizer is not None
    loaded.tokenizer.chat_template = CHAT
    config = PruneConfig(model="m", task=str(path), **options)
    return split_tasks(config, read_tasks(config, loaded, {}, Clock(date(2026, 1, 31))))


def shown(example: Example) -> tuple[list[str], str]:
    """The questions of the worked examples the model reads, and the one that is asked."""
    words = str(word_tokenizer().decode(list(map(int, example.prompt)))).split()
    starts = [at for at, word in enumerate(words) if word == "the" and words[at + 1] in ("big", "red")]
    *before, asked = [" ".join(words[start + 1 : start + 10]) for start in starts]
    return before, asked


def leaks(search: dict[Domain, Task], test: dict[Domain, Task], shots: int) -> tuple[int, int]:
    """How many prompts show a held-out row, and how many the row they ask."""
    prompts = [shown(e) for part in (search, test) for task in part.values() for e in task.examples]
    secrets = {shown(example)[1] for task in test.values() for example in task.examples}
    assert {len(before) for before, _ in prompts} == {shots}
    return sum(bool(secrets & set(before)) for before, _ in prompts), sum(asked in before for before, asked in prompts)


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_shows_its_own_row_or_a_held_out_one(kind: str, chat: bool, tmp_path: Path) -> None:
    whole, search, test = divided(tmp_path, kind, rows(kind, range(60)), chat)
    assert leaks(search, test, shots=3) == (0, 0)
    note = f"task.jsonl: 3 shots a prompt, drawn for each row from {len(search['ood'].examples)} rows of the search half; {NEVER}"
    assert whole["ood"].notes[-1] == note
    _, bare, _ = divided(tmp_path, kind, rows(kind, range(60)), chat, num_fewshot=0)
    assert [(e.id, e.group, e.content, e.gold) for e in search["ood"].examples] == [
        (e.id, e.group, e.content, e.gold) for e in bare["ood"].examples
    ]
    assert not set(digest_examples(bare["ood"])) & set(digest_examples(search["ood"]))


def test_leaks_are_found_where_the_rule_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deal = FileShots.deal
    monkeypatch.setattr(
        FileShots, "deal", lambda shots, task, search, held_out, seed: deal(shots, task, task, [], seed)
    )
    monkeypatch.setattr(Pool, "telling", lambda pool, question, group: set())
    _, search, test = divided(tmp_path, "choice", rows("choice", range(40)))
    held_out, own = leaks(search, test, shots=3)
    assert held_out > 20
    assert own > 0


@pytest.mark.parametrize("spaces", [False, True], ids=["the same text", "other spaces"])
def test_equal_texts_and_rows_of_a_group_are_not_shown(spaces: bool, tmp_path: Path) -> None:
    first = rows("choice", range(30))
    gap = "  " if spaces else " "
    again = [
        {**row, "context": row["context"].replace(" ", gap), "answer": "it"} for row in first if row["answer"] != "it"
    ]
    data = first + again
    _, search, test = divided(tmp_path, "choice", data, num_fewshot=2)
    assert leaks(search, test, shots=2) == (0, 0)
    _, search, test = divided(tmp_path, "choice", rows("choice", range(96), group=4), num_fewshot=4)
    groups = {shown(e)[1]: e.group for part in (search, test) for e in part["ood"].examples}
    pairs = [(e.group, groups[b]) for part in (search, test) for e in part["ood"].examples for b in shown(e)[0]]
    assert pairs
    assert all(asked != before for asked, before in pairs)


def test_nothing_held_out_in_any_data_set_is_shown(tmp_path: Path) -> None:
    paths = [
        write_lines(tmp_path / f"{name}.jsonl", rows("choice", numbers))
        for name, numbers in (("ood", range(60)), ("id", range(30, 90)), ("test", range(200, 230)))
    ]
    _, search, test = split_files(paths[0], reference=str(paths[1]), num_fewshot=2)
    assert leaks(search, test, shots=2) == (0, 0)
    _, search, test = split_files(paths[0], test=str(paths[2]), num_fewshot=2)
    assert leaks(search, test, shots=2) == (0, 0)
    asked = {shown(example)[1] for example in search["ood"].examples}
    assert all(set(shown(example)[0]) <= asked for example in test["ood"].examples)


def test_a_worked_example_is_question_answer_and_delimiter(tmp_path: Path) -> None:
    data = [{**row, "solution": f"then {row['answer']}"} for row in rows("generate", range(20))]
    said = {"continuation": " {{ solution }}", "fewshot_delimiter": " and "}
    whole, search, test = divided(tmp_path, "generate", data, num_fewshot=1, **said)
    example = test["ood"].examples[0]
    [before], asked = shown(example)
    gold = next(row["answer"] for row in data if before in row["context"])
    assert example.text == f"the {before} : then {gold} and the {asked} :"
    assert search["ood"].stop == (" and ",)  # type: ignore[attr-defined]
    assert "task.jsonl: a text ends at ' and ', which parts worked examples; stop says otherwise" in whole["ood"].notes
    turns = divided(tmp_path, "generate", data, chat=True, num_fewshot=1, **said)[2]["ood"].examples[0]
    [before], asked = shown(turns)
    gold = next(row["answer"] for row in data if before in row["context"])
    expected = f"<unk> : the {before} : . <unk> : then {gold} . <unk> : the {asked} : . Answer :"
    assert word_tokenizer().decode(list(map(int, turns.prompt))) == expected


def test_the_flag_says_the_same_as_the_yaml(tmp_path: Path) -> None:
    data = rows("label", range(40))
    by_yaml = divided(tmp_path, "label", data, num_fewshot=2)[0]["ood"]
    flagged = tmp_path / "flag"
    flagged.mkdir()
    path = write_lines(flagged / "task.jsonl", data)
    by_flag = split_files(path, kind="label", label=("yes", "no"), num_fewshot=2)[0]["ood"]
    assert by_flag.digest == by_yaml.digest
    assert split_files(tmp_path / "task.jsonl", num_fewshot=0)[0]["ood"].shots is None
    other = split_files(path, kind="label", label=("yes", "no"), num_fewshot=2, seed=1)[0]["ood"]
    assert other.digest != by_flag.digest


def test_rows_too_long_behind_worked_examples(tmp_path: Path) -> None:
    long = [{**row, "context": "then " * (120 if at % 8 == 0 else 0) + row["context"]} for at, row in enumerate(rows("choice", range(80)))]  # fmt: skip
    with pytest.raises(DataError, match=r"task.jsonl:\d+ with 3 worked examples: \d+ tokens, but the model reads at most 256; .*--too-long skip"):  # fmt: skip
        divided(tmp_path, "choice", long)
    whole, search, test = divided(tmp_path, "choice", long, too_long="skip")
    count = whole["ood"].skipped["longer than the model can read"]
    assert len(search["ood"].examples) + len(test["ood"].examples) == 80 - count
    assert 0 < count < 60
    assert whole["ood"].notes[-1] == f"task.jsonl: 3 shots a prompt: {count} rows skipped, too long with them"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"num_fewshot": 20}, r"20 shots a prompt, but only 7 rows may be shown \(never the row itself, one of its group or its text, nor one that is held out\); ask for at most 7, or for none with --num-fewshot 0$"),
        ({"num_fewshot": -1}, "num_fewshot: input should be greater than or equal to 0"),
        ({"num_fewshot": "few"}, "num_fewshot: input should be a valid integer"),
        ({"fewshot_delimiter": ""}, "fewshot_delimiter: string should have at least 1 character"),
        ({"kind": "perplexity", "fields": {"text": "context"}}, r"worked examples are for questions \(choice, label, generate\), this is a perplexity task; leave out --num-fewshot, or num_fewshot$"),
    ],
)  # fmt: skip
def test_worked_examples_that_cannot_be(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        divided(tmp_path, "choice", rows("choice", range(20)), **said)


def test_a_dry_run_shows_a_prompt_with_its_worked_examples(model_folder: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", rows("choice", range(40)))
    dry = CliRunner().invoke(app, ["prune", str(model_folder), "--task", str(path), "--num-fewshot", "2", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    prompt = next(line for line in dry.output.splitlines() if line.startswith("prompt"))
    assert prompt.count("\\n\\n") == 2
    assert prompt.count("the ") >= 3


def test_a_run_says_and_keeps_how_many_and_goes_on_with_as_many(tmp_path: Path) -> None:
    def run(count: int) -> Any:
        return tapioca.enumerate(
            tiny("llama"), word_tokenizer(), task=path, num_fewshot=count, score="likelihood", max_drops=1,
            out=tmp_path / "run", progress=False,
        )  # fmt: skip

    path = write_lines(tmp_path / "task.jsonl", rows("choice", range(40)))
    first = run(2)
    assert f"task.jsonl: 2 shots a prompt, drawn for each row from 20 rows of the search half; {NEVER}" in first.notes
    assert read_manifest(tmp_path / "run")["num_fewshot"] == {"ood": [2]}
    assert run(2).plans == first.plans
    with pytest.raises(tapioca.TapiocaError, match=r"differs in: data, num_fewshot"):
        run(3)


def test_rows_in_memory_show_each_other() -> None:
    task = tapioca.read_task(
        rows("generate", range(12)), tiny("llama"), word_tokenizer(), kind="generate", num_fewshot=5, max_new_tokens=2
    )
    assert {len(shown(example)[0]) for example in task.examples} == {5}
    assert not any(shown(example)[1] in shown(example)[0] for example in task.examples)
    assert (
        task.notes[-1]
        == f"rows: 5 shots a prompt, drawn for each row from 12 rows; {NEVER.replace(', and held-out rows', '')}"
    )
