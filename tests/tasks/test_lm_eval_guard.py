"""Tasks of lm-eval run no code of their own unless it is trusted, their templates neither; and none costs too much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks._yaml_loader import load_yaml
from support.lm_eval_tasks import CHOOSES
from support.words import word_tokenizer

from tapioca.errors import DataError
from tapioca.tasks import bounded
from tapioca.tasks.lm_eval.docs import load_lm_eval
from tapioca.tasks.lm_eval.guard import watch_code
from tapioca.tasks.text import Encoder

TASK = {"task": "own", **CHOOSES}
CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
def text(doc): return "the " + doc["question"]
def docs(rows): return rows
def score(items): return 1.0
def choose(*_): return {"acc": 1.0}
class Own: pass
"""


def write_task(folder: Path, more: str = "", **fields: Any) -> None:
    rows = [{"question": f"{'big ' * (n + 1)}cat", "gold": n % 2} for n in range(6)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "code.py").write_text(CODE)
    files = {"data_files": {"validation": str(folder / "rows.jsonl")}}
    own = {name: field for name, field in {**TASK, "dataset_kwargs": files, **fields}.items() if field is not None}
    (folder / "own.yaml").write_text(yaml.safe_dump(own) + more)


def load(folder: Path, **options: Any) -> Any:
    return load_lm_eval("harness:own", Encoder(word_tokenizer(), 64), {"include_path": str(folder), **options})


FUNCTIONS = {
    "doc_to_text": {"doc_to_text": None},
    "process_docs": {},
    "process_results": {},
    "doc_to_target": {"doc_to_target": None},
    "class": {},
    "custom_dataset": {},
}


@pytest.mark.parametrize("field", FUNCTIONS)
def test_a_function_of_a_task_is_not_run_unless_it_is_trusted(tmp_path: Path, field: str) -> None:
    write_task(tmp_path, f"{field}: !function code.text\n", **FUNCTIONS[field])
    line = len((tmp_path / "own.yaml").read_text().splitlines())
    with pytest.raises(
        DataError,
        match=rf"/own\.yaml:{line}: !function code\.text runs Python code; read it, then say --trust-task-code",
    ):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "more",
    [
        "include: other/base.yaml\n",
        "fewshot_config:\n  samples: !function code.docs\n",
        "filter_list: [{name: own, filter: [{function: custom, filter_fn: !function code.docs}]}]\n",
        "metadata: {anything: !function os.system}\n",
    ],
    ids=["include", "samples", "filter", "an installed module"],
)
def test_nor_is_one_in_a_part_or_a_file_it_includes(tmp_path: Path, more: str) -> None:
    write_task(tmp_path, more)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "base.yaml").write_text("process_docs: !function code.docs\n")
    (tmp_path / "other" / "code.py").write_text(CODE)
    with pytest.raises(DataError, match=r"!function .* runs Python code; read it, then say --trust-task-code"):
        load(tmp_path)
    assert not list(tmp_path.rglob("ran"))


def test_a_metric_of_another_library_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(CODE)
    for metric in ({"metric": str(tmp_path / "metric.py")}, {"metric": "acc", "hf_evaluate": True}):
        write_task(tmp_path, metric_list=[{**metric, "aggregation": "mean", "higher_is_better": True}])
        with pytest.raises(DataError, match="is none of lm-eval's, so the evaluate library runs its code; read it"):
            load(tmp_path)
        assert not (tmp_path / "ran").exists()


def test_a_task_that_runs_what_the_model_writes_needs_trust_too(tmp_path: Path) -> None:
    write_task(tmp_path, unsafe_code=True)
    with pytest.raises(DataError, match="own: the task runs the code that the model writes"):
        load(tmp_path)
    assert load(tmp_path, trust_task_code=True).examples


def test_trusted_code_is_said_aloud(tmp_path: Path) -> None:
    write_task(tmp_path, "doc_to_text: !function code.text\nprocess_docs: !function code.docs\n", doc_to_text=None)
    task = load(tmp_path, trust_task_code=True)
    assert task.examples[0].text == "the big cat"
    assert "own: Python code of the task runs: code.text, code.docs" in task.notes
    assert (tmp_path / "ran").exists()


def test_code_that_lm_eval_brings_needs_no_flag_and_is_noted() -> None:
    from lm_eval import tasks

    with watch_code(trusted=False) as functions:
        load_yaml(Path(tasks.__file__).parent / "hellaswag" / "hellaswag.yaml")
    assert functions == ["utils.process_docs"]


@pytest.mark.parametrize(
    "template",
    ["{{ cycler.__init__.__globals__.os.system('touch ran') }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}"],
)
def test_a_template_of_a_task_stays_in_a_sandbox(
    tmp_path: Path, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, doc_to_text=template)
    with pytest.raises(DataError, match="is unsafe"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_template_that_costs_too_much_names_the_document(tmp_path: Path) -> None:
    write_task(tmp_path, doc_to_text="{{ question.ljust(10**10 if question|length > 20 else 20) }}")
    with pytest.raises(
        DataError, match=r"^own/4: template .* costs too much for one row \(.*big big.*\): it needs more than"
    ):
        load(tmp_path)
    write_task(tmp_path, doc_to_choice="{{ ['a' * 10**10, 'b'] }}")
    with pytest.raises(DataError, match=r"^own, its first document: template .* costs too much"):
        load(tmp_path)


def test_templates_of_lm_eval_print_what_they_print_there(tmp_path: Path) -> None:
    from lm_eval import utils

    write_task(tmp_path)
    load(tmp_path)
    doc = {
        "text": "The cat sat. It ran.",
        "choices": {"text": ["a", "b"], "label": ["A", "B"]},
        "key": "B",
        "none": None,
    }
    for template in (
        "{{text.split(' ')[:-1] | join(' ')}}\n", "{{choices.label.index(key)}}", "{{choices.text}}", "{{none}}",
        "{{ text|regex_replace('[a-z]+', 'x', 2) }}", "{% for t in choices.text %}{{ loop.index }}. {{ t }}\n{% endfor %}",
    ):  # fmt: skip
        assert utils.apply_template(template, doc) == utils.env.from_string(template).render(**doc)
    assert bounded.render("lm-eval", "{{ none }}", doc) == "None"
