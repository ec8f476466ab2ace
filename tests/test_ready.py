"""Every ready task on a hub: rows in the published schemas, on loopback through the real clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import disable_progress_bars
from support import published
from support.hub import Client, serving
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.models.tiny import tiny
from tapioca.tasks.catalog import CATALOG
from tapioca.tasks.files import load_task
from tapioca.tasks.rows import read_rows
from tapioca.tasks.spec import read_spec
from tapioca.tasks.text import Encoder

disable_progress_bars()

EQUAL, NONE = "with two choices that are the same", "without choices"
EMPTY, MISFIT = "without an answer", "that a computed field does not fit"


def tokenizer() -> Any:
    """One with a chat template, for TALE's variants, and with the labels of the ready tasks."""
    made = word_tokenizer()
    made.add_tokens(["False", "True"])
    made.chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]"
    return made


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a hub that has a small model and the data of all ready tasks."""
    folder, model = tmp_path_factory.mktemp("model"), tiny("llama")
    model.config.max_position_embeddings = 2048
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    with serving(tmp_path_factory.mktemp("hub")) as hub:
        hub.push("models", "own/model", folder)
        for name, rows in published.DATA.items():
            hub.push_rows(name, rows)
        client = Client(tmp_path_factory.mktemp("home"), hub.url)
        yield client
        client.close()


def given(answers: Sequence[Any]) -> list[Any]:
    """The answers of rows that can be used."""
    return [answer for answer in answers if answer is not None]


ARC_GOLDS = given([gold for *_, gold in published.ARC]) * 4
ARC_KEYS = [key for *_, key, _ in published.ARC if key] * 4
MARKED: dict[str, tuple[list[Any], dict[str, int]]] = {
    "arc_easy": (ARC_GOLDS, {MISFIT: 4, EQUAL: 4, NONE: 4}),
    "arc_challenge": (ARC_GOLDS, {MISFIT: 4, EQUAL: 4, NONE: 4}),
    "boolq": ([int(answer) for answer in given(published.BOOLQ)], {MISFIT: 1}),
    "mmlu": (given([gold for *_, gold in published.MMLU]), {EQUAL: 1, NONE: 1}),
    "commonsense_qa": (given([gold for *_, gold in published.COMMONSENSE]), {EQUAL: 1}),
    "winogrande": (given([gold for *_, gold in published.WINOGRANDE]), {EQUAL: 1, "without a usable answer": 1}),
    "bbh_boolean_expressions": ([["False", "True"].index(answer) for answer in published.BOOLEANS if answer], {"without a usable answer": 1}),
    "gsm8k_hard": (given([answer for _, answer in published.TARGETS]), {"whose answer is no number": 1}),
    "math500": ([answer for answer in published.MATHS if answer], {EMPTY: 1}),
    "tale/arc_easy": (ARC_KEYS, {EMPTY: 4}),
    "tale/arc_challenge": (ARC_KEYS, {EMPTY: 4}),
    "tale/boolq": (["BA"[answer] for answer in given(published.BOOLQ)], {"that the template does not fit": 1}),
    "tale/mmlu": (["ABCD"[answer] for _, answer, _ in published.MMLU], {}),
    "tale/commonsense_qa": ([key for _, key, _ in published.COMMONSENSE], {}),
    "tale/winogrande": ([answer for *_, answer, _ in published.WINOGRANDE if answer], {EMPTY: 1}),
    "tale/bbh_boolean_expressions": ([answer for answer in published.BOOLEANS if answer], {EMPTY: 1}),
    "tale/gsm8k_hard": (given([answer for _, answer in published.GSM8K]), {EMPTY: 1}),
    "tale/math500": ([answer for answer in published.MATHS if answer], {EMPTY: 1}),
}  # fmt: skip
"""The right answers of each task, and how many rows are left out, by reason."""


@pytest.mark.parametrize("name", CATALOG)
def test_every_ready_task_reads_its_rows_from_the_hub(
    name: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "math500":
        pytest.importorskip("math_verify")
    done = client.run("tasks", name, "--model", "own/model")
    assert (done.code, done.err) == (0, "")
    golds, skipped = MARKED[name]
    assert f"{name}: {len(golds)} examples" in done.out
    total, reasons = sum(skipped.values()), ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    assert (f": {total} of {total + len(golds)} rows skipped: {reasons}\n" in done.out) == bool(skipped)
    client.lend_cache(monkeypatch)
    task = load_task(name, Encoder(tokenizer(), 2048), {})
    assert [example.answer if example.gold is None else example.gold for example in task.examples] == golds
    assert task.skipped == skipped


@pytest.mark.parametrize("name", ["arc_easy", "arc_challenge"])
def test_prune_with_model_and_data_from_the_hub(name: str, client: Client, tmp_path: Path) -> None:
    said = ("--random-plans", "1", "--max-drops", "1", "--score", "likelihood", "--out", str(tmp_path))
    done = client.run("prune", "own/model", "--task", name, *said)
    assert done.code == 0, done.err
    assert (tmp_path / "plan.json").is_file()
    assert (
        "12 of 52 rows skipped: 4 that a computed field does not fit, 4 with two choices that are the same, 4"
        in done.out
    )


def test_without_skipping_a_row_that_cannot_be_used_is_refused_in_one_line(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.run("tasks", "arc_easy", "--model", "own/model")
    client.lend_cache(monkeypatch)
    with pytest.raises(DataError) as refused:
        load_task("arc_easy", Encoder(tokenizer(), 2048), {"skip_bad_rows": False})
    message = str(refused.value)
    assert (
        "12 of 52 rows cannot be used: 4 that a computed field does not fit (allenai/ai2_arc validation row 12: field"
        in message
    )
    assert (
        "4 with two choices that are the same (allenai/ai2_arc validation row 10: two choices are the same" in message
    )
    assert message.endswith("; mend the file, or leave such rows out with --skip-bad-rows")
    assert "\n" not in message


def by_key(row: dict[str, Any]) -> int:
    return row["choices"]["label"].index(row["answerKey"])


REAL: dict[str, tuple[str, str, Callable[[dict[str, Any]], Any]]] = {
    "arc_easy": ("allenai/ai2_arc,name=ARC-Easy", "train", by_key),
    "arc_challenge": ("allenai/ai2_arc,name=ARC-Challenge", "train", by_key),
    "boolq": ("google/boolq", "validation", lambda row: int(row["answer"])),
    "winogrande": ("allenai/winogrande,name=winogrande_xl", "train", lambda row: int(row["answer"]) - 1),
    "bbh_boolean_expressions": ("lukaemon/bbh,name=boolean_expressions", "test", lambda row: row["target"] == "True"),
    "gsm8k_hard": ("reasoning-machines/gsm-hard", "train", lambda row: str(row["target"])),
    "tale/arc_easy": ("allenai/ai2_arc,name=ARC-Easy", "validation", lambda row: row["answerKey"]),
    "tale/boolq": ("google/boolq", "validation", lambda row: "A" if row["answer"] else "B"),
    "tale/winogrande": ("allenai/winogrande,name=winogrande_xl", "validation", lambda row: row["answer"]),
    "tale/bbh_boolean_expressions": ("lukaemon/bbh,name=boolean_expressions", "test", lambda row: row["target"]),
}
"""Data set, split, and what is right by a row's own fields."""


def check_real_rows(name: str, shared: Path, kept: Callable[[int, dict[str, Any]], bool]) -> None:
    """Some of the rows are all used, and have the right answer."""
    data, split, right = REAL[name]
    rows = read_rows(Path(f"hub:{shared / 'hub' / 'datasets' / data},split={split}"))
    rows = [row for number, row in enumerate(rows) if kept(number, row.fields)]
    described = read_spec(CATALOG[name], {})[1].model_dump(exclude_unset=True)
    task = load_task(name, Encoder(tokenizer(), 8192), described, rows)
    assert task.skipped == {}
    golds = [example.answer if example.gold is None else example.gold for example in task.examples]
    assert golds == [right(row.fields) for row in rows]


def has_numerals(row: dict[str, Any]) -> bool:
    return any(text.isdigit() for text in row.get("choices", {}).get("text", ()))


@pytest.mark.parametrize("name", REAL)
def test_real_rows(name: str, shared: Path) -> None:
    check_real_rows(name, shared, lambda number, row: number % 20 == 0 or has_numerals(row))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_all_real_rows(name: str, shared: Path) -> None:
    check_real_rows(name, shared, lambda number, row: True)
