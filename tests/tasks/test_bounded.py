"""Templates cost a row no more than they may: what they print stays the same, what never ends is ended, in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from support.rows import choice_rows, write_lines
from support.words import word_tokenizer

from tapioca import child
from tapioca.child import Child
from tapioca.errors import DataError, RowError
from tapioca.tasks import bounded, worker
from tapioca.tasks.files import load_task
from tapioca.tasks.marking import Marking
from tapioca.tasks.sandbox import ENVIRONMENTS, is_plain
from tapioca.tasks.template import evaluate, render
from tapioca.tasks.text import Encoder

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"

COSTLY = {
    "{{ '%1000000000d' % 1 }}": "operator % would make more than 10,000,000 characters",
    "{{ '%*d' % (1000000000, 1) }}": "operator %",
    "{{ 'a' * 10**10 }}": r"operator \*",
    "{{ [1] * 10**9 }}": r"operator \*",
    "{{ (10**9)**(10**9) }}": r"operator \*\*",
    "{{ 'x'|center(10**7 + 1) }}": "makes more than 10,000,000 characters",
    "{{ 'x'.ljust(10**10) }}": "needs more than 1024 MiB of memory",
    "{{ 'x'.zfill(10**10) }}": "memory",
    "{{ '{:10000000000}'.format(1) }}": "memory",
    "{{ word.join(many).join(many).join(many).join(many) }}": "memory",
    "{{ many.replace('', many).replace('', many).replace('', many) }}": "memory",
    "{{ (1).to_bytes(10**10, 'big') }}": "memory",
}

SAME = [
    "{{ word }} {{ row['a name'] }}{{ number + 1 }}",
    "{% for w in many.split() %}{{ loop.index }}{{ w|upper }} {% endfor %}",
    "{{ '%05.2f|%s' % (number, word) }} {{ word * 3 }} {{ 2 ** 10 }} {{ [1, 2] * 2 == [1, 2, 1, 2] }}",
    "{% set x = word ~ 'é\n' %}{{ x.strip().title()|center(20) }}|{{ when }} {{ price * 2 }} {{ pair }}",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(word) }}{{ choices|join(', ') }}{{ when.isoformat() }}",
    "{{ word|e }} {{ choices|tojson }} {{ '<b>'|striptags }}",
]
FIELDS = {
    "word": "cat",
    "many": "the cat sat " * 40,
    "number": 3,
    "a name": "x",
    "choices": ["a", "b"],
    "when": date(2026, 1, 31),
    "price": Decimal("1.10"),
    "pair": (1, "b"),
}


@pytest.mark.parametrize("template", COSTLY)
def test_a_row_that_costs_too_much_is_named_in_one_line(template: str) -> None:
    with pytest.raises(DataError, match=COSTLY[template]) as caught:
        render(template, FIELDS, "task.jsonl:7")
    assert str(caught.value).startswith("task.jsonl:7: template ")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, RowError)  # a skipped row would have cost as much


def use_quick_child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Render in a child that computes for 0.3 seconds at most."""
    monkeypatch.setattr(bounded, "CHILD", Child("support.quick_worker"))
    return bounded.CHILD


def test_what_never_ends_is_ended_and_the_next_row_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = use_quick_child(monkeypatch)
    for template in (
        LOOP,
        "{{ lipsum(10**6) }}",
        "{{ ('1' * 4000)|int ** 2000 % 7 }}",
        f"{{% if 1 %}}{LOOP}{{% endif %}}",
    ):
        start = time.monotonic()
        with pytest.raises(DataError, match=r"task\.jsonl:7: .*(it computes for more than|operator)"):
            render(template, FIELDS, "task.jsonl:7")
        assert time.monotonic() - start < 10
        assert render("{% for w in 'ab' %}{{ w }}{% endfor %}", {}, "task.jsonl:8") == "ab"
    quick.stop()


@pytest.mark.parametrize("template", SAME)
def test_what_is_printed_stays_the_same(template: str) -> None:
    plain = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    expected = plain.from_string(template).render(row=FIELDS, **FIELDS)
    assert render(template, FIELDS, "") == expected
    assert bounded.ask("render", "rows", template, {"row": FIELDS, **FIELDS}) == expected


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("{{ many.split()[:2] }}", ["the", "cat"]),
        ("{{ word.partition('a') }}", ("c", "a", "t")),
        ("{{ number / 7 }}", 3 / 7),
        ("{{ when.replace(2027) }}", date(2027, 1, 31)),
        ("{{ price * 2 }}", Decimal("2.20")),
        ("{{ {'a': 1}[word[1]] }}", 1),
    ],
)
def test_what_an_expression_gives_stays_the_same(expression: str, value: Any) -> None:
    assert evaluate(expression, FIELDS, "") == value
    assert type(evaluate(expression, FIELDS, "")) is type(value)


def test_an_expression_gives_no_object_of_a_class() -> None:
    with pytest.raises(RowError, match=r"it gives a builtins\.range; expected a text, a number or a list of them"):
        evaluate("{{ range(3) }}", {}, "task.jsonl:1")


def test_templates_that_loop_or_call_are_rendered_elsewhere() -> None:
    plain = [
        "{{ a }}",
        "{{ a.b[0]|trim }}",
        "{% if a %}{{ 'x' ~ b }}{% endif %}",
        "{{ a|default('?') }}",
        "{{ a - 1 }}",
        "{{ a",
    ]
    other = [
        "{{ a() }}",
        "{{ a * 2 }}",
        "{{ a % 2 }}",
        LOOP,
        "{% set a = 1 %}",
        "{{ a|center(9) }}",
        "{{ a|join }}",
        "a" * 10_001,
    ]
    assert [is_plain("rows", template) for template in plain + other] == [True] * len(plain) + [False] * len(other)
    assert all(environment.sandboxed for environment in ENVIRONMENTS.values())


def test_a_task_with_such_a_template_names_file_and_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "task.jsonl", choice_rows(3))
    encoder = Encoder(word_tokenizer(), 64)
    for options in ({"template": "{{ context.ljust(10**10) }}"}, {"fields": {"context": "{{ context * 10**9 }}"}}):
        with pytest.raises(DataError, match=r"task\.jsonl:1: .* costs too much for one row: .*; write it without"):
            load_task(str(path), encoder, {**options, "skip_bad_rows": True})


def test_a_chat_template_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = use_quick_child(monkeypatch)
    tokenizer, turns = word_tokenizer(), [{"role": "user", "content": "the cat"}]
    for template, reason in {
        "{{ 'a' * 10**10 }}": r"its operator \*",
        "{{ '%1000000000d' % 1 }}": "its operator %",
        "{{ messages[0].content.ljust(10**10) }}": "it needs more than 1024 MiB of memory",
        "{% for m in messages %}{% break %}{% endfor %}" + LOOP: "it computes for more than",
    }.items():
        tokenizer.chat_template = "{{ messages[0].content }}" + template
        with pytest.raises(DataError, match=rf"task\.jsonl:3: the model's chat template costs too much.*: {reason}"):
            Encoder(tokenizer, 64).encode_chat(turns, "task.jsonl:3", {})
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert Encoder(tokenizer, 64).encode_chat(turns, "", {}) == tokenizer.encode("the cat", add_special_tokens=False)
    quick.stop()


def test_a_child_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for w in 'ab' %}{{ w }}{% endfor %}"
    assert render(template, {}, "") == "ab"
    for end in (signal.SIGKILL, signal.SIGTERM):
        process = bounded.CHILD.start()
        process.send_signal(end)
        process.wait()
        assert render(template, {}, "") == "ab"
    process = bounded.CHILD.start()
    os.kill(process.pid, signal.SIGSTOP)  # it will be in the middle of a job when it is killed
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -9 {process.pid}"])
    with pytest.raises(DataError, match=r"task\.jsonl:2: .*the process that renders it ended \(SIGKILL\)"):
        render(template, {}, "task.jsonl:2")
    killer.wait()
    assert render(template, {}, "") == "ab"


def test_an_interrupt_leaves_no_answer_for_the_next_row(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{% for w in word %}{{ w }}{% endfor %}"

    def interrupt(pipe: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(child, "read_frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            render(template, {"word": "first"}, "")
    assert render(template, {"word": "next"}, "") == "next"


def test_a_child_ends_with_its_parent() -> None:
    code = "import os, signal; from tapioca.tasks import bounded; print(bounded.CHILD.start().pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _is_running(pid):
        time.sleep(0.02)
    assert not _is_running(pid)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_the_child_needs_no_limits_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    worker.limit_memory()
    monkeypatch.delattr(signal, "setitimer")
    with worker.time_limit():
        pass


def test_the_sandbox_of_chat_templates_is_that_of_transformers() -> None:
    from transformers.utils import chat_template_utils

    assert (
        chat_template_utils.ImmutableSandboxedEnvironment is ImmutableSandboxedEnvironment
    )  # here; the child's is bounded


def test_a_pattern_that_backtracks_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = use_quick_child(monkeypatch)
    for pattern in ("(a+)+b", r"(\w|\w\w)*!", "(a|aa)+$"):
        with pytest.raises(
            DataError, match=r"^extract .* costs too much for one text \('a.*\): it computes for more than"
        ):
            Marking(extract=pattern).find_answer("a" * 60 + "?")
        assert Marking(extract=r"is (\d+)").find_answer("it is 4, it is 5.") == "5"
    quick.stop()
