"""Worked examples in prompts of lm-eval tasks tell no answer that is held out, nor that of the row itself."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import TaskManager
from support.words import word_tokenizer

from tapioca.commands.prune.config import PruneConfig
from tapioca.errors import DataError
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.records.results import Domain
from tapioca.session.data import read_tasks, split_tasks
from tapioca.tasks.base import Task
from tapioca.tasks.chat import Clock
from tapioca.tasks.lm_eval.shots import FEWSHOT_SEED
from tapioca.tasks.lm_eval.task import LmEvalTask

PLACES = ["red", "big", "on the mat", "and then"]
CHAT = "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}{% if add_generation_prompt %}Answer :{% endif %}"
CHOICE = {
    "output_type": "multiple_choice",
    "dataset_path": "json",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{gold}}",
    "doc_to_choice": PLACES,
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def rows(start: int, count: int) -> list[dict[str, Any]]:
    """Rows of which no two ask the same."""
    words = (" ".join("big" if bit == "1" else "red" for bit in f"{at:09b}") for at in range(start, start + count))
    return [{"question": f"the cat sat {word} on it", "gold": at % 4} for at, word in enumerate(words, start)]


def write_task(folder: Path, name: str = "shown", data: dict[str, list[Any]] | None = None, **said: Any) -> None:
    """A task over splits of given rows; `said` adds to its YAML."""
    data = data or {"train": rows(0, 30), "test": rows(100, 12)}
    files = {}
    for split, part in data.items():
        files[split] = str(folder / f"{name}-{split}.jsonl")
        Path(files[split]).write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    names = {
        key: split
        for key, split in (("training_split", "train"), ("validation_split", "validation"), ("test_split", "test"))
        if split in data
    }
    names = (
        names if len(names) > 1 or "train" not in data else {**names, "test_split": "train"}
    )  # lm-eval wants one of them
    whole = {"task": name, "dataset_kwargs": {"data_files": files}, **CHOICE, **names, **said}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")


def divided(folder: Path, task: str, **said: Any) -> tuple[dict[str, Task], dict[Domain, Task], dict[Domain, Task]]:
    """The data sets of a run and their halves, as every command makes them."""
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    assert loaded.tokenizer is not None
    loaded.tokenizer.chat_template = CHAT
    config = PruneConfig(model="m", task=f"harness:{task}", include_path=str(folder), **said)
    return split_tasks(config, read_tasks(config, loaded, {}, Clock(date(2026, 1, 31))))


def questions(task: Task, id: str) -> tuple[list[str], str]:
    """What a prompt asks in its worked examples, and at its end."""
    assert isinstance(task, LmEvalTask)
    *shown, asked = re.findall("the cat sat (?:(?:big|red) )*on it", str(task.requests[id][0].args[0]))
    return shown, asked


def leaks(search: dict[Domain, Task], test: dict[Domain, Task], shots: int) -> tuple[int, int]:
    """How many prompts show a held-out row, and how many the row they ask, among their worked examples."""
    prompts = [questions(task, e.id) for part in (search, test) for task in part.values() for e in task.examples]
    secrets = {questions(task, example.id)[1] for task in test.values() for example in task.examples}
    assert {len(shown) for shown, _ in prompts} == {shots}
    return sum(bool(secrets & set(shown)) for shown, _ in prompts), sum(asked in shown for shown, asked in prompts)


TRAIN = {"train": rows(0, 30)}
ALL = {**TRAIN, "validation": rows(50, 30), "test": rows(100, 30)}
NEVER = "the row itself and held-out rows are never shown"


@pytest.mark.parametrize(
    ("data", "yaml_says", "name", "source"),
    [
        ({**TRAIN, "test": rows(100, 30)}, {}, "shown,shots=2", "search half of the train"),
        ({**TRAIN, "test": rows(100, 30)}, {"fewshot_split": "train"}, "shown,shots=2", "search half of the train"),
        ({"validation": rows(50, 30)}, {}, "shown,shots=2", "search half of the validation"),
        (TRAIN, {}, "shown,shots=2", "search half of the train"),
        ({"test": rows(100, 30)}, {}, "shown,split=test,shots=2", "search half of the test"),
        (ALL, {"fewshot_split": "validation"}, "shown,shots=2", "train"),
        (ALL, {"fewshot_split": "test"}, "shown,split=test,shots=2", "train"),
        (ALL, {}, "shown,shots=2", "train"),
        (ALL, {"num_fewshot": 2}, "shown", "train"),
        (TRAIN, {}, "shown,shots=2,chat=true", "search half of the train"),
        (TRAIN, {"fewshot_config": {"sampler": "first_n", "split": "train"}}, "shown,shots=2", "search half of the train"),
        ({"train": [{**row, "n": n} for n in (1, 2) for row in rows(0, 30)]}, {}, "shown,shots=2", "search half of the train"),
        ({"train": rows(45, 30), "validation": rows(50, 30)}, {}, "shown,shots=2", "train"),
    ],
    ids=[
        "train and test", "fewshot_split is the one asked", "validation only", "train only", "test only", "another split than the one asked",
        "a test split asked and named", "train beside validation", "as the task says", "chat", "the first ones", "rows twice", "splits that overlap",
    ],
)  # fmt: skip
def test_no_prompt_shows_its_own_row_or_a_held_out_one(
    data: dict[str, list[Any]], yaml_says: dict[str, Any], name: str, source: str, tmp_path: Path
) -> None:
    write_task(tmp_path, data=data, **yaml_says)
    whole, search, test = divided(tmp_path, name)
    assert leaks(search, test, shots=2) == (0, 0)
    assert whole["ood"].notes[-1].startswith(f"harness:{name}: 2 shots a prompt, from the {source} split; {NEVER}")
    _, bare, _ = divided(tmp_path, name.replace("shots=2", "shots=0") if "shots" in name else f"{name},shots=0")
    assert [(e.id, e.group, e.content) for e in search["ood"].examples] == [
        (e.id, e.group, e.content) for e in bare["ood"].examples
    ]
    assert search["ood"].digest != bare["ood"].digest


@pytest.mark.parametrize(
    ("task", "others"),
    [
        ("shown,split=validation,shots=2", {"reference": "harness:shown,split=train,shots=2"}),
        ("shown,split=train,shots=2", {"reference": "harness:other,split=train,shots=2"}),
        ("shown,split=train,shots=2", {"test": "harness:shown,split=test,shots=2"}),
        ("other,split=validation,shots=2", {"test": "harness:other,split=test,shots=2"}),
        ("both,shots=2", {}),
    ],
    ids=["ID from the shown split", "two tasks", "a test task", "a test task that would show itself", "a group"],
)
def test_nothing_held_out_in_any_data_set_is_shown(task: str, others: dict[str, str], tmp_path: Path) -> None:
    write_task(tmp_path, data=ALL)
    write_task(
        tmp_path,
        "other",
        {"train": rows(150, 30), "validation": rows(200, 30), "test": rows(250, 30)},
        fewshot_split="test",
    )
    (tmp_path / "both.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["shown", "other"]}))
    _, search, test = divided(tmp_path, task, **others)
    assert leaks(search, test, shots=2) == (0, 0)


def test_examples_that_the_task_itself_gives_stay_and_are_not_asked(tmp_path: Path) -> None:
    write_task(tmp_path, data=TRAIN, fewshot_config={"sampler": "first_n", "samples": rows(28, 4)})
    whole, search, test = divided(tmp_path, "shown,shots=4")
    assert leaks(search, test, shots=4) == (0, 0)
    assert len(whole["ood"].examples) == 28
    assert whole["ood"].notes[-2:] == (
        "harness:shown,shots=4: 2 documents are not asked, since the task gives their answers in its prompts",
        "harness:shown,shots=4: 4 shots a prompt, the same ones, which the task itself gives",
    )


def test_worked_examples_of_another_split_are_lm_evals_own(tmp_path: Path) -> None:
    write_task(tmp_path, data=ALL)
    whole, _, _ = divided(tmp_path, "shown,shots=3")
    task = whole["ood"]
    assert isinstance(task, LmEvalTask)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    [own] = manager.load("shown")["tasks"].values()
    own.config.test_split = "validation"
    own.set_config("num_fewshot", 3)
    own.set_fewshot_seed(seed=FEWSHOT_SEED)
    own.build_all_requests()
    assert [request.args for e in task.examples for request in task.requests[e.id]] == [i.args for i in own.instances]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shown,shots=10", r"^harness:shown,shots=10: 10 shots a prompt, but only 7 rows may be shown \(never the row itself, nor one that is held out\); ask for at most 7, or for none with shots=0$"),
        ("shown,shots=21", "21 shots a prompt, but only 19 rows may be shown"),
        ("shown,shots=two", "shots=two is no number of worked examples; expected 0, 1, 2, ..."),
        ("shown,shots=-1", "shots=-1 is no number of worked examples"),
    ],
)  # fmt: skip
def test_worked_examples_that_cannot_be(name: str, message: str, tmp_path: Path) -> None:
    write_task(tmp_path, data={"train": rows(0, 20)})
    with pytest.raises(DataError, match=message):
        divided(tmp_path, name)
