"""`tapioca tasks`: what a file asks under every option of a run that changes it, and its description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.rows import write_lines
from support.words import word_tokenizer

from tapioca.cli.main import main
from tapioca.models.tiny import tiny

THINKING = "{% for m in messages %}{% if quick %}then {% endif %}{{ m['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chatting")
    tiny("llama").save_pretrained(folder)
    tokenizer = word_tokenizer()
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    texts = ["the cat", "a dog", "the dog sat", "a cat ran", "the cat ran on", "a dog sat on"]
    return write_lines(
        tmp_path / "t.jsonl", [{"body": text, "queue": ["yes", "no"][at % 2]} for at, text in enumerate(texts)]
    )


def test_a_guess_is_written_and_read_again(
    chatting: str, tickets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "task.yaml"
    command = ["tasks", str(tickets), "--model", chatting, "--label", "no", "--label", "yes", "--write", str(place)]
    assert main(command) == 0
    guessed = capsys.readouterr().out
    assert guessed.endswith(f"written to {place}; edit it, then --task {place}\n")
    assert yaml.safe_load(place.read_text())["fields"] == {"answer": "queue", "text": "body"}
    assert main(command) == 2
    assert (
        capsys.readouterr().err
        == f"error: {place} is there already and is not overwritten; give --write another name\n"
    )
    assert main(["tasks", str(place), "--model", chatting]) == 0
    assert "answers: no 3×, yes 3×" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["arc_easy", "--write", "t.yaml"], "arc_easy is no data file and needs no description; --write is for data"),
        (["harness:arc_easy", "--write", "t.yaml"], "harness:arc_easy is no data file and needs no description"),
        (["lab:id", "--write", "t.yaml"], "lab:id is no data file and needs no description"),
        (["t.csv", "--write", "t.txt"], "--write t.txt: a description is a .yaml file; give it such a name"),
        (["--write", "t.yaml"], "--write describes a data file; name one"),
        (["arc_easy", "--compat", "tale", "--label", "a"], "--compat tale is for ready tasks, asked and marked as"),
        (["t.csv", "--chat-option", "quick"], "--chat-option quick is not of the form name=value"),
    ],
)
def test_what_cannot_be_written_or_shown(
    more: list[str], message: str, chatting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", *more, "--model", chatting]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_options_of_the_chat_template(chatting: str, tickets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tasks", str(tickets), "--model", chatting, "--count", "1", "--chat", "--field", "text=body"]
    assert main([*command, "--chat-option", "quick=true"]) == 0
    assert "read   13:␣then 3:␣the 5:␣cat" in capsys.readouterr().out
    assert main([*command, "--chat-option", "slow=true"]) == 2
    assert "the chat template reads no option 'slow'" in capsys.readouterr().err


def test_code_of_a_task_runs_when_told(chatting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own_score.py").write_text("def score(text, row):\n    return text == row['answer']\n")
    write_lines(tmp_path / "t.jsonl", [{"question": f"the cat {'sat ' * n}", "answer": "it"} for n in range(4)])
    task = tmp_path / "task.yaml"
    task.write_text(
        json.dumps({"data": "t.jsonl", "kind": "generate", "score_function": "own_score:score", "max_new_tokens": 8})
    )
    assert main(["tasks", str(task), "--model", chatting]) == 2
    assert "--trust-task-code" in capsys.readouterr().err
    assert main(["tasks", str(task), "--model", chatting, "--trust-task-code"]) == 0
    assert "texts are scored by own_score:score, whose code runs" in capsys.readouterr().out
