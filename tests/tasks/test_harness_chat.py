"""Chat options of the command line reach the prompts of lm-eval tasks, and are refused where they mean nothing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.lm_eval_tasks import CHOOSES
from support.words import word_tokenizer
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from tapioca.cli.main import app
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.session.data import read_tasks, split_tasks
from tapioca.tasks.base import Task
from tapioca.tasks.chat import Clock
from tapioca.tasks.lm_eval.task import LmEvalTask

TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}{% if add_generation_prompt %}"
    "{% if enable_thinking is defined and enable_thinking is false %}no{% else %}yes{% endif %}{% endif %}"
)
DATED = TEMPLATE + "{{ strftime_now('%Y-%m-%d') }}"
TASK = {"task": "asked", **CHOOSES}
WRITES = {
    "output_type": "generate_until",
    "doc_to_target": "{{['the cat', 'a dog'][gold]}}",
    "generation_kwargs": {"until": ["."], "max_gen_toks": 4},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An lm-eval task that chooses, and one that writes, on the same rows."""
    rows = [{"question": " ".join("big" if b == "1" else "red" for b in f"{n:06b}"), "gold": n % 2} for n in range(24)]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    for name, more in (("asked", {}), ("written", {**WRITES, "doc_to_choice": None})):
        whole = {**TASK, **more, "task": name, "dataset_kwargs": {"data_files": {"validation": str(data)}}}
        said = {key: value for key, value in whole.items() if value is not None}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(said))
    return tmp_path


def chatting(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def read(folder: Path, name: str = "asked", template: str = TEMPLATE, **options: Any) -> Task:
    """The OOD data of a run as every command reads them, worked examples included."""
    config = PruneConfig(model="m", task=f"harness:{name}", include_path=str(folder), **options)
    clock = Clock(config.chat_date or date(2026, 1, 31))
    whole = read_tasks(config, LoadedModel(tiny("llama"), chatting(template)), {}, clock)
    return split_tasks(config, whole)[0]["ood"]


def context(task: Task) -> str:
    """What lm-eval asks first."""
    assert isinstance(task, LmEvalTask)
    return str(next(iter(task.requests.values()))[0].args[0])


@pytest.mark.parametrize("name", ["asked", "written"])
def test_the_options_stand_in_every_prompt(name: str, folder: Path) -> None:
    task = read(folder, name, chat=True, system="the red mat", chat_option=("enable_thinking=false",))
    expected = chatting().apply_chat_template(
        [{"role": "system", "content": "the red mat"}, {"role": "user", "content": "the red red red red red red :"}],
        tokenize=False, add_generation_prompt=True, enable_thinking=False,
    )  # fmt: skip
    assert expected == "system : the red mat . user : the red red red red red red : . no"
    assert context(task) == expected
    assert task.examples[0].prompt == tuple(word_tokenizer().encode(expected))
    assert context(read(folder, name, chat=True)).endswith(": . yes")
    assert context(read(folder, name)) == "the red red red red red red :"


def test_flags_say_what_options_of_the_name_say(folder: Path) -> None:
    by_flag = read(folder, chat=True, system="the cat", num_fewshot=2)
    by_name = read(folder, "asked,shots=2,chat=true,system=the cat")
    assert by_flag.digest == by_name.digest
    assert context(by_flag).count("assistant : ") == context(by_flag).count("user : ") - 1 == 2
    assert read(folder, "asked,shots=2,chat=true,system=a dog", system="the cat", chat=True).digest != by_name.digest
    assert read(folder, chat=True, chat_option=("enable_thinking=false",)).digest != read(folder, chat=True).digest


def test_a_template_that_prints_the_date_prints_one_day(folder: Path) -> None:
    first, again = (read(folder, template=DATED, chat=True) for _ in range(2))
    other = read(folder, template=DATED, chat=True, chat_date=date(2026, 2, 1))
    assert context(first) == context(again)
    assert context(first).endswith("yes2026-01-31")
    assert context(other).endswith("yes2026-02-01")


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (TEMPLATE, {"chat_option": ("enable_thinking=false",)}, "^harness:asked: options of the chat template need a chat; say --chat, or chat=true$"),
        (TEMPLATE, {"system": "the cat"}, "^harness:asked: a system prompt needs a chat; say --chat, or chat=true before system=$"),
        (TEMPLATE, {"chat": True, "chat_option": ("thinking=false",)}, "the chat template reads no option 'thinking'"),
        (TEMPLATE, {"chat": True, "chat_option": ("tokenize=false",)}, "'tokenize' is no option of a chat template; this program sets it itself"),
        ("{{ raise_exception('no system here') }}", {"chat": True, "system": "the cat"}, "does not take this conversation: no system here"),
        (None, {"chat": True}, "^harness:asked: the tokenizer has no chat template; leave out --chat, or chat=true$"),
    ],
)  # fmt: skip
def test_chat_options_that_mean_nothing(template: str, options: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, template=template, **options)


def test_the_command_line_asks_an_lm_eval_task_in_a_chat(folder: Path) -> None:
    model = folder / "model"
    tiny("llama").save_pretrained(model)
    chatting().save_pretrained(model)
    words = ["tasks", "harness:asked", "--model", str(model), "--include-path", str(folder), "--count", "1"]
    done = CliRunner().invoke(
        app, [*words, "--chat", "--system", "the red mat", "--chat-option", "enable_thinking=false"]
    )
    assert done.exit_code == 0, done.output
    assert "system : the red mat . user : the red red red red red red : . no\n" in done.output
