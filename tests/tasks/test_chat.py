"""Chats: a template's clock stands still for a run, its options are taken or refused, and thoughts are no answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rows import choice_rows, write_lines
from support.words import WORDS
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

import tapioca
from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError, UsageError
from tapioca.models.tiny import tiny
from tapioca.records import NO_CHOICE, Example, Request
from tapioca.records.config import parse_chat_options
from tapioca.runs.folder import read_manifest
from tapioca.tasks.chat import Clock
from tapioca.tasks.files import load_task
from tapioca.tasks.generate import EXACT_MATCH, Generate
from tapioca.tasks.marking import Marking
from tapioca.tasks.text import Encoder

TURNS = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
CLOCKS = {
    "llama-3.2": "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{{ date_string }} ",
    "mistral-small": "{% set today = strftime_now('%Y-%m-%d') %}{{ bos_token }}{{ today }} ",
    "gpt-oss": "{{ 'Current date: ' + strftime_now('%Y-%m-%d') }} ",
    "an hour too": "{{ strftime_now('%Y-%m-%d %H:%M') }} ",
    "late": TURNS + "{{ strftime_now('%j') }} ",
}
THINKS = " {% if enable_thinking is defined and enable_thinking is false %}no{% else %}yes{% endif %}"


def chatting(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer of words, digits one by one, with a chat template."""
    words = [*WORDS, *"0123456789[]-", "user", "system", "assistant", "<think>", "</think>", "[/THINK]", "5", "4"]
    ids = {word: index for index, word in enumerate(dict.fromkeys(words))}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(True)])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )


def load(folder: Path, tokenizer: Any, clock: Clock | None = None, **given: Any) -> Any:
    rows = [{**row, "answer": row["choices"][row["answer"]]} for row in choice_rows(3)]
    path = write_lines(folder / "task.jsonl", rows)
    return load_task(str(path), Encoder(tokenizer, 256, clock=clock), {"chat": True, "max_new_tokens": 4, **given})


@pytest.mark.parametrize("name", CLOCKS)
def test_the_clock_of_a_template_stands_still(tmp_path: Path, name: str) -> None:
    tokenizer = chatting(CLOCKS[name] + TURNS)
    clocks = [Clock(date(2026, 1, 31)), Clock(date(2026, 1, 31)), Clock(date(2026, 2, 1))]
    first, again, later = (load(tmp_path, tokenizer, clock, kind="generate").digest for clock in clocks)
    assert all(clock.was_read for clock in clocks)
    assert first == again != later
    assert chat_template_utils.datetime is datetime


def test_what_is_printed_is_midnight_of_the_day() -> None:
    clock, tokenizer = Clock(date(2026, 1, 31)), chatting(CLOCKS["an hour too"])
    with clock.stopped():
        text = tokenizer.apply_chat_template([{"role": "user", "content": "the"}], tokenize=False)
    assert text == "2026-01-31 00:00 "


def test_a_date_that_is_given_asks_no_clock(tmp_path: Path) -> None:
    clock = Clock(date(2026, 1, 31))
    options = {"date_string": "26 Jul 2024"}
    load(tmp_path, chatting(CLOCKS["llama-3.2"] + TURNS), clock, kind="generate", chat_template_kwargs=options)
    assert not clock.was_read


def run(folder: Path, template: str, **options: Any) -> Any:
    rows = [{**row, "answer": row["choices"][row["answer"]]} for row in choice_rows(40)]
    path = write_lines(folder / "task.jsonl", rows)
    return tapioca.prune(
        tiny("llama"), chatting(template), task=path, chat=True, kind="choice", progress=False, max_drops=1, random_plans=0,
        score="likelihood", **options,
    )  # fmt: skip


def test_rows_in_memory_are_told_the_day_of_the_run(tmp_path: Path) -> None:
    rows = [{**row, "answer": row["choices"][row["answer"]]} for row in choice_rows(40)]
    session = tapioca.Session(
        tiny("llama"), chatting(CLOCKS["llama-3.2"] + TURNS), task=rows, chat=True, kind="choice", progress=False,
        score="likelihood", chat_date="2026-01-31",
    )  # fmt: skip
    assert session.inputs.data_manifest["chat_date"] == "2026-01-31"


@pytest.mark.parametrize(
    "named", [pytest.param(True, id="--out", marks=pytest.mark.slow), pytest.param(False, id="no --out")]
)
def test_a_run_goes_on_another_day(
    tmp_path: Path, named: bool, monkeypatch: pytest.MonkeyPatch, on_day: Callable[[str], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    out, template = {"out": Path("run")} if named else {}, CLOCKS["llama-3.2"] + TURNS
    on_day("2026-01-31")
    first = run(tmp_path, template, **out)
    on_day("2026-02-01")
    again = run(tmp_path, template, **out)
    assert again.folder == first.folder
    assert again.cost.evaluations == first.cost.evaluations
    assert again.judgements == first.judgements
    assert read_manifest(first.folder)["chat_date"] == "2026-01-31"
    assert any("it is 2026-01-31 on every day (--chat-date)" in note for note in again.notes)
    elsewhere = run(tmp_path, template, out=Path("other"))
    assert read_manifest(elsewhere.folder)["chat_date"] == "2026-02-01"
    with pytest.raises(tapioca.TapiocaError, match=r"differs in: chat_date, data"):
        run(tmp_path, template, out=first.folder, chat_date="2025-01-01")


def test_a_template_without_a_clock_has_no_date(tmp_path: Path) -> None:
    info = run(tmp_path, TURNS, out=tmp_path / "run")
    assert "chat_date" not in read_manifest(info.folder)
    assert not any("date" in note for note in info.notes)


@pytest.fixture
def on_day(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the day that it is."""

    def set_day(day: str) -> None:
        class Day(date):
            @classmethod
            def today(cls) -> Day:
                return cls.fromisoformat(day)

        monkeypatch.setattr("tapioca.session.folder.date", Day)

    return set_day


@pytest.mark.parametrize("kind", ["choice", "label", "generate"])
def test_questions_of_each_kind_in_a_chat(tmp_path: Path, kind: str) -> None:
    tokenizer = chatting(TURNS)
    rows = [{"context": "the cat", "choices": ["yes", "no"], "answer": "no"}]
    path = write_lines(tmp_path / "task.jsonl", rows)
    labels = ("yes", "no") if kind == "label" else ()
    given = {"chat": True, "system": "one dog", "kind": kind, "labels": labels, "max_new_tokens": 4}
    task = load_task(str(path), Encoder(tokenizer, 128), given)
    turns = [{"role": "system", "content": "one dog"}, {"role": "user", "content": "the cat"}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    [example], ids = task.examples, [tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    assert list(example.prompt) == expected
    assert example.rows[0].inputs == tuple(expected)
    targets = {"choice": [(ids[0],), (ids[1],)], "label": [tuple(ids)], "generate": [(ids[1],)]}
    assert [row.targets for row in example.rows] == targets[kind]
    assert not any("--chat" in note for note in task.notes)


def test_a_chat_template_that_is_not_used_is_named(tmp_path: Path) -> None:
    said = "task.jsonl: asked as plain text, though the tokenizer has a chat template; --chat asks by it"
    assert said in load(tmp_path, chatting(TURNS), chat=False, kind="choice").notes
    plain = chatting(TURNS)
    plain.chat_template = None
    assert said not in load(tmp_path, plain, chat=False, kind="choice").notes


def test_options_reach_the_template(tmp_path: Path) -> None:
    tokenizer = chatting(TURNS + THINKS)
    texts = [
        tokenizer.decode(load(tmp_path, tokenizer, kind="generate", chat_template_kwargs=options).examples[0].prompt)
        for options in ({}, {"enable_thinking": True}, {"enable_thinking": False})
    ]
    assert [text.split()[-1] for text in texts] == ["yes", "yes", "no"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"chat_template_kwargs": {"enable_thinkin": False}}, "the chat template reads no option 'enable_thinkin'"),
        ({"chat_template_kwargs": {"tokenize": False}}, "'tokenize' is no option of a chat template"),
        ({"chat_template_kwargs": {"enable_thinking": False}, "chat": False}, "options of the chat template need chat"),
        ({"chat": False, "system": "one"}, "a system prompt needs chat: true, or --chat"),
    ],
)
def test_options_that_would_do_nothing(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, chatting(TURNS + THINKS), **{"kind": "generate", **given})
    assert "\n" not in str(caught.value)


def test_options_on_the_command_line() -> None:
    pairs = ["enable_thinking=false", "a=True", "level=low", "n=2", "date_string=26 Jul 2024", "x=a=b"]
    expected = {"enable_thinking": False, "a": True, "level": "low", "n": 2, "date_string": "26 Jul 2024", "x": "a=b"}
    assert parse_chat_options(pairs) == expected
    config = PruneConfig(model="m", task="t", chat=True, system="s", chat_option=("n=2",), chat_date="2026-01-31")
    assert config.task_options() == {"chat": True, "system": "s", "chat_template_kwargs": {"n": 2}}
    assert config.command() == "tapioca prune m --task t --chat --system s --chat-option n=2 --chat-date 2026-01-31"
    with pytest.raises(UsageError, match="--chat-option thinking is not of the form name=value"):
        parse_chat_options(["thinking"])
    with pytest.raises(UsageError, match=r"--chat-date: .*got 'tomorrow'"):
        PruneConfig(model="m", task="t", chat_date="tomorrow")


@pytest.mark.parametrize(
    ("written", "opened", "answer"),
    [
        ("<think> The answer is 5 </think> 4", False, "4"),
        ("<think> The <think> 5 </think> is </think> 4", False, "4"),
        ("<think> The answer is 5", False, None),
        ("<think> 5 </think> 4 <think> or 5 </think> 4", False, "4"),
        ("<think> 4 </think> 4 <think> or 5", False, None),
        ("5 </think> 4", True, "4"),
        ("5 </think> 4", False, "4"),
        ("The answer is 5", True, None),
        ("The answer is 4", False, "4"),
        ("<think> 5 </think>", False, None),
        ("</think> 4 </s>", True, "4"),
    ],
)
def test_only_what_follows_a_thought_is_marked(written: str, opened: bool, answer: str | None) -> None:
    task = thinking("<s> one <think>" if opened else "<s> one")
    assert task.marking.find_answer(task.answer_text(encoded(written)) or "") == answer
    for gold in ("4", "5"):
        example = Example(id="a", group="a", rows=(Request((1,), (1,)),), prompt=(1,), answer=gold)
        marked = task.score(example, [array([0.0]), array(encoded(written))])
        assert (marked.score, marked.unparsed) == (float(gold == answer), answer is None)
        assert (marked.length, marked.predicted) == (len(encoded(written)), NO_CHOICE)


def test_a_stop_string_does_nothing_inside_a_thought() -> None:
    task = thinking("<s> one", stop=("cat",))
    assert [task.is_finished(encoded(text)) for text in ("<think> cat", "<think> cat </think>", "<think> cat </think> cat")] == [
        False, False, True,
    ]  # fmt: skip
    assert task.is_finished(encoded("the cat"))


@pytest.mark.parametrize(
    ("end", "written", "answer"),
    [
        ("[/THINK]", "5 [/THINK] 4", "4"),
        ("[/THINK]", "<think> 5 </think> 4", "4"),
        ("then", "5 then 4", "4"),
        ("then", "the answer is 5", None),
        (None, "<think> 4 </think> and 5", "5"),
    ],
)
def test_other_ends_of_a_thought(end: str | None, written: str, answer: str | None) -> None:
    task = thinking("<s> one", think_end_token=end)
    assert task.marking.find_answer(task.answer_text(encoded(written)) or "") == answer


def thinking(prompt: str, **given: Any) -> Generate:
    example = Example(id="a", group="a", rows=(Request((1,), (1,)),), prompt=tuple(encoded(prompt)), answer="4")
    said = {"stop": (), "token_limit": 64, **given}
    return Generate(
        name="t", examples=(example,), metric=EXACT_MATCH, tokenizer=chatting(""), marking=Marking("number"), **said
    )


def encoded(text: str) -> list[int]:
    return list(chatting("").encode(text, add_special_tokens=False))


def array(values: Any) -> np.ndarray:
    return np.array(values)
