"""Tasks of lm-eval scored here equal lm-eval's own evaluation, document by document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
import pytest
import yaml
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from support.real_data import SHARED
from support.rows import write_lines
from support.words import word_tokenizer
from transformers import PreTrainedModel

import tapioca
from tapioca.errors import DataError, UsageError
from tapioca.evaluate import evaluate
from tapioca.integrations.lm_eval import PlannedLM
from tapioca.models.edit import apply
from tapioca.models.inputs import find_max_length
from tapioca.models.load import LoadedModel
from tapioca.models.tiny import tiny
from tapioca.plan import Plan
from tapioca.records import NO_CHOICE
from tapioca.tasks.lm_eval.docs import load_lm_eval
from tapioca.tasks.lm_eval.task import LmEvalTask
from tapioca.tasks.text import Encoder

ANIMALS, PLACES = ("cat", "dog", "mat"), ("on the mat", "on a rug and then it ran", "red", "big")
SENTENCES = [f"{'then ' * (at // 6)}the {'big ' * (at % 3)}{ANIMALS[at % 3]} sat {PLACES[at % 2]}" for at in range(24)]
PLAIN = {"validation_split": "validation", "test_split": "test", "output_type": "multiple_choice"}

DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    "arc": [
        {"question": s, "choices": {"text": list(PLACES), "label": list("ABCD")}, "answerKey": "ABCD"[at % 4]}
        for at, s in enumerate(SENTENCES)
    ],
    "boolq": [{"passage": s, "question": f"{s} and it", "label": at % 2} for at, s in enumerate(SENTENCES)],
    "winogrande": [
        {"sentence": f"{s} and _ was big", "option1": "it", "option2": "the cat", "answer": str(1 + at % 2)}
        for at, s in enumerate(SENTENCES)
    ],
    "last_word": [{"text": s} for s in SENTENCES],
    "sums": [
        {"question": f"{s} . one and two", "answer": f"{s} #### {['one', 'two'][at % 2]}"}
        for at, s in enumerate(SENTENCES)
    ],
    "running": [{"page": " . ".join(SENTENCES[at : at + 3 + at % 3]) * 4} for at in range(12)],
}
"""Rows in the form their data sets have on the hub."""

TASKS: dict[str, dict[str, Any]] = {
    "arc": {
        **PLAIN,
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "doc_to_choice": "{{choices.text}}",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
    },
    "boolq": {
        **PLAIN,
        "doc_to_text": "{{passage}}\nQuestion: {{question}}?\nAnswer:",
        "doc_to_target": "label",
        "doc_to_choice": ["no", "yes"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "winogrande": {
        **PLAIN,
        "doc_to_text": "{{ {'1': 0, '2': 1}[answer] }}",
        "doc_to_target": "{{sentence.split('_')[1].strip()}}",
        "doc_to_choice": "{{[sentence.split('_')[0] + option1, sentence.split('_')[0] + option2]}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    "last_word": {
        **PLAIN,
        "output_type": "loglikelihood",
        "doc_to_text": "{{text.split(' ')[:-1] | join(' ')}}",
        "doc_to_target": "{{' ' + text.split(' ')[-1]}}",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        ],
    },
    "sums": {
        **PLAIN,
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Question:", "mat mat"], "do_sample": False, "max_gen_toks": 12},
        "filter_list": [
            {
                "name": "strict",
                "filter": [{"function": "regex", "regex_pattern": "#### (\\w+)"}, {"function": "take_first"}],
            },
            {
                "name": "flexible",
                "filter": [
                    {"function": "regex", "group_select": -1, "regex_pattern": "(\\w+)"},
                    {"function": "take_first"},
                ],
            },
        ],
        "metric_list": [
            {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}
        ],
    },
    "running": {
        **PLAIN,
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{page}}",
        "metric_list": [
            {"metric": metric, "aggregation": kind, "higher_is_better": False}
            for metric, kind in (("word_perplexity", "weighted_perplexity"), ("bits_per_byte", "bits_per_byte"))
        ],
    },
}


@pytest.fixture(autouse=True)
def _no_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval notes all packages and drivers of the machine with every evaluation, by a dozen processes."""
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", str)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Task YAMLs over local files, one per type of lm-eval task."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in DOCUMENTS.items():
        files = {}
        for split, part in (("validation", rows), ("test", rows[::-1])):
            files[split] = str(folder / f"{name}-{split}.jsonl")
            Path(files[split]).write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
        said = {"task": f"local_{name}", "dataset_path": "json", "dataset_kwargs": {"data_files": files}, **TASKS[name]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["tiny", "stories260K"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    """A small random model that reads words, and a real one where it is at hand."""
    if request.param == "tiny":
        return LoadedModel(tiny("llama"), word_tokenizer())
    if not (SHARED / "models" / "stories260K").is_dir():
        pytest.skip("../shared is not here")
    return tapioca.load(SHARED / "models" / "stories260K")


def read(loaded: LoadedModel, folder: Path, name: str, **given: Any) -> LmEvalTask:
    assert loaded.tokenizer is not None
    encoder = Encoder(loaded.tokenizer, find_max_length(loaded.model))
    task = load_lm_eval(f"harness:{name}", encoder, {"include_path": str(folder), **given})
    assert isinstance(task, LmEvalTask)
    return task


def run_lm_eval(loaded: LoadedModel, task: LmEvalTask) -> tuple[list[dict[str, Any]], HFLM]:
    """lm-eval's own samples, by all its metrics and filters."""
    lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    [own] = set(task.tasks.values())
    none = TaskManager(include_defaults=False)  # its own index takes seconds
    found = lm_eval.simple_evaluate(model=lm, tasks=[own], task_manager=none, bootstrap_iters=0, log_samples=True)
    assert found is not None
    return found["samples"][own.task_name], lm


RUNS: dict[tuple[PreTrainedModel, str, int | None], tuple[list[dict[str, Any]], HFLM]] = {}
"""Runs of lm-eval by model, task and worked examples: one is read for every metric and filter."""


def theirs(loaded: LoadedModel, task: LmEvalTask, pipeline: str = "none") -> tuple[dict[str, dict[str, Any]], HFLM]:
    """lm-eval's own samples of the full model by example id."""
    [own] = set(task.tasks.values())
    key = loaded.model, own.task_name, own.config.num_fewshot
    if key not in RUNS:
        RUNS[key] = run_lm_eval(loaded, task)
    samples, lm = RUNS[key]
    return by_id(own.task_name, samples, pipeline), lm


def by_id(name: str, samples: list[dict[str, Any]], pipeline: str = "none") -> dict[str, dict[str, Any]]:
    """Samples of one filter by the ids that their examples have here."""
    return {f"{name}/{sample['doc_id']}": sample for sample in samples if sample["filter"] == pipeline}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("local_arc", "acc"),
        ("local_arc,metric=acc_norm", "acc_norm"),
        ("local_arc,shots=2", "acc"),
        ("local_boolq", "acc"),
        ("local_winogrande", "acc"),
        ("local_last_word", "acc"),
    ],
)
def test_every_document_is_scored_as_by_lm_eval(loaded: LoadedModel, folder: Path, name: str, metric: str) -> None:
    task = read(loaded, folder, name)
    scores = evaluate(loaded.model, task, [Plan.full(len(loaded.model.model.layers))], batch_size=5)
    samples, lm = theirs(loaded, task)
    assert len(samples) == len(task.examples) == 24
    for at, example in enumerate(task.examples):
        sample = samples[example.id]
        for row, request in zip(example.rows, task.requests[example.id], strict=True):
            before, after = lm._encode_pair(*request.args)
            assert [*row.inputs, row.targets[-1]] == before + after
            assert list(row.targets) == after
        best = sorted((float(response[0][0]) for response in sample["resps"]), reverse=True)
        assert scores.values[0, at] == sample[metric] or scores.tied[0, at]
        if len(best) > 1:
            values = [
                float(given[0][0]) / row.normalizer for given, row in zip(sample["resps"], example.rows, strict=True)
            ]
            assert scores.tied[0, at] or scores.predicted[0, at] == np.argmax(values)
        else:
            assert scores.predicted[0, at] == NO_CHOICE
        if metric == "acc" and len(best) > 1:
            assert scores.tied[0, at] == (best[0] - best[1] < 1e-5)
        gold = float(sample["resps"][example.gold or 0][0][0])
        assert scores.log_likelihoods[0, at] == pytest.approx(
            gold / example.rows[example.gold or 0].normalizer, abs=1e-4
        )


CHAT = "{% for m in messages %}{{ m.role }} : {{ m.content }} . {% endfor %}{% if add_generation_prompt %}Answer :{% endif %}"
KIND = "the cat was red, and the dog was big"


def test_ties_are_counted_and_said_before_the_search(folder: Path, tmp_path: Path) -> None:
    """Two choices of the same words tie, wherever they are the likeliest."""
    said = yaml.safe_load((folder / "arc.yaml").read_text())
    rows = [
        {
            "question": s,
            "choices": {"text": ["it", "it"] if at % 3 else ["it", "red"], "label": ["A", "B"]},
            "answerKey": "A",
        }
        for at, s in enumerate(SENTENCES)
    ]
    write_lines(tmp_path / "same.jsonl", rows)
    said |= {"task": "same", "dataset_kwargs": {"data_files": {"validation": str(tmp_path / "same.jsonl")}}}
    (tmp_path / "same.yaml").write_text(yaml.safe_dump({**said, "test_split": None}))
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    task = read(loaded, tmp_path, "same")
    scores = evaluate(loaded.model, task, [Plan.full(4)])
    assert scores.tied[0].tolist() == [at % 3 > 0 for at in range(24)]
    assert scores.values[0][scores.tied[0]].all()  # lm-eval takes the first of equals
    assert not evaluate(loaded.model, read(loaded, tmp_path, "same", score="likelihood"), [Plan.full(4)]).tied.any()
    info = tapioca.prune(
        loaded.model, loaded.tokenizer, task="harness:same", include_path=str(tmp_path), max_drops=1, random_plans=0,
        progress=False, out=tmp_path / "run",
    )  # fmt: skip
    found = info.checks["ood"]
    assert 0 < found.tied < found.n_search == 12
    assert (
        f"{found.tied} answers tied (two choices equally likely; rounding decides)"
        in (tmp_path / "run" / "report.html").read_text()
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bos", ["", "{{ bos_token }}"])
@pytest.mark.parametrize(("shots", "system"), [(0, None), (0, KIND), (2, KIND)])
def test_chat_has_the_tokens_of_lm_evals_own(shots: int, system: str | None, bos: str, folder: Path) -> None:
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    assert loaded.tokenizer is not None
    loaded.tokenizer.chat_template = bos + CHAT
    name = f"local_arc,split=test,shots={shots},chat=true" + (f",system={system}" if system else "")
    task = read(loaded, folder, name)
    lm = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    found = lm_eval.simple_evaluate(
        model=lm, tasks=["local_arc"], num_fewshot=shots, apply_chat_template=True, system_instruction=system, limit=6,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False), bootstrap_iters=0, log_samples=True,
    )  # fmt: skip
    assert found is not None
    samples = {f"local_arc/{sample['doc_id']}": sample for sample in found["samples"]["local_arc"]}
    assert len(samples) == 6
    for example in task.examples[:6]:
        pairs = samples[example.id]["arguments"]
        assert [request.args for request in task.requests[example.id]] == pairs
        for row, pair in zip(example.rows, pairs, strict=True):
            before, after = lm._encode_pair(*pair)
            assert ([*row.inputs, row.targets[-1]], [*row.targets]) == (before + after, after)
            assert before.count(1) == 1
    assert (system is not None) == (f"system : {KIND} ." in task.examples[0].text)


def test_chat_that_cannot_be(folder: Path) -> None:
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    assert loaded.tokenizer is not None
    with pytest.raises(DataError, match="a system prompt needs a chat; say --chat, or chat=true before system="):
        read(loaded, folder, "local_arc,system=the cat, the dog")
    with pytest.raises(DataError, match="the tokenizer has no chat template; leave out --chat, or chat=true"):
        read(loaded, folder, "local_arc,chat=true")
    loaded.tokenizer.chat_template = "{{ raise_exception('no system here') }}"
    with pytest.raises(
        DataError, match="the chat template of the tokenizer does not take this conversation: no system here"
    ):
        read(loaded, folder, "local_arc,chat=true,system=the cat")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pipeline", ["strict", "flexible"])
def test_written_answers_are_marked_as_by_lm_eval(loaded: LoadedModel, folder: Path, pipeline: str) -> None:
    task = read(loaded, folder, f"local_sums,filter={pipeline}")
    texts: dict[str, str] = {}
    evaluate(loaded.model, task, [Plan.full(len(loaded.model.model.layers))], batch_size=5)
    for example in task.examples:  # what `evaluate` left in the requests is what was marked
        texts[example.id] = task.requests[example.id][0].resps[0]
    scores = evaluate(loaded.model, task, [Plan.full(len(loaded.model.model.layers))], batch_size=3)
    samples, _ = theirs(loaded, task, pipeline)
    assert [texts[e.id] for e in task.examples] == [samples[e.id]["resps"][0][0] for e in task.examples]
    assert scores.values[0].tolist() == [samples[e.id]["exact_match"] for e in task.examples]
    nothing = ["[invalid]" in samples[e.id]["filtered_resps"] or not texts[e.id].strip() for e in task.examples]
    assert scores.unparsed[0].tolist() == nothing
    assert (scores.lengths[0].max(), scores.truncated[0].any()) == (12, True)
    assert len(set(texts.values())) > 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("metric", "size"), [("word_perplexity", 0), ("bits_per_byte", 1)])
def test_running_text_is_scored_as_by_lm_eval(loaded: LoadedModel, folder: Path, metric: str, size: int) -> None:
    task = read(loaded, folder, f"local_running,metric={metric}")
    scores = evaluate(loaded.model, task, [Plan.full(len(loaded.model.model.layers))], batch_size=5)
    samples, _ = theirs(loaded, task)
    for at, example in enumerate(task.examples):
        total, units = samples[example.id][metric]
        assert example.weight == units
        assert scores.values[0, at] * example.weight == pytest.approx(total, rel=1e-5, abs=1e-4)


def test_a_text_longer_than_the_model_is_read_in_lm_evals_windows(folder: Path) -> None:
    model, tokenizer = tiny("llama"), word_tokenizer()
    task = load_lm_eval("harness:local_running", Encoder(tokenizer, 16), {"include_path": str(folder)})
    assert len(task.examples[0].rows) > 3
    scored = sum(len(row.targets) for row in task.examples[0].rows)
    assert scored == len(tokenizer.encode(DOCUMENTS["running"][0]["page"]))
    assert np.isfinite(evaluate(model, task, [Plan.full(4)]).values).all()


@pytest.mark.filterwarnings("ignore")
def test_a_live_plan_inside_lm_eval_is_the_plan_here(loaded: LoadedModel, folder: Path) -> None:
    layers = len(loaded.model.model.layers)
    plan = Plan(n_layers=layers, layers={1: 0.0}, mlp={2: 0.5})
    task = read(loaded, folder, "local_arc")
    scores = evaluate(loaded.model, task, [plan], batch_size=5)
    with apply(loaded.model, plan):
        samples = by_id("local_arc", run_lm_eval(loaded, task)[0])
    gold = [float(samples[e.id]["resps"][e.gold or 0][0][0]) for e in task.examples]
    assert scores.log_likelihoods[0] == pytest.approx(np.array(gold), abs=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["local_arc", "local_last_word", "local_running", "local_sums"])
def test_a_live_plan_and_its_checkpoint_give_the_same_documents(name: str, folder: Path, tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "full")
    word_tokenizer().save_pretrained(tmp_path / "full")
    (tmp_path / "plan.json").write_text(Plan.drop(4, [2]).to_json())
    tapioca.export(tmp_path / "full", tmp_path / "pruned", Plan.drop(4, [2]))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    options = {"tasks": [name], "task_manager": manager, "bootstrap_iters": 0, "log_samples": True, "device": "cpu"}
    live = lm_eval.simple_evaluate(
        model="tapioca", model_args=f"pretrained={tmp_path / 'full'},plan={tmp_path / 'plan.json'}", **options
    )
    pruned = lm_eval.simple_evaluate(model="hf", model_args=f"pretrained={tmp_path / 'pruned'}", **options)
    full = lm_eval.simple_evaluate(model="hf", model_args=f"pretrained={tmp_path / 'full'}", **options)
    assert len(live["samples"][name]) > 10
    assert live["samples"][name] == pruned["samples"][name]
    assert live["results"][name] == pruned["results"][name]
    assert live["samples"][name] != full["samples"][name]


def test_lm_evals_cache_is_refused_for_plans(model_folder: Path, tmp_path: Path) -> None:
    """Its keys do not name the model: a second plan would be given the first one's answers."""
    (tmp_path / "plan.json").write_text(Plan.drop(4, [2]).to_json())
    model = PlannedLM(str(model_folder), str(tmp_path / "plan.json"), device="cpu")
    with pytest.raises(UsageError, match="two plans would share answers; leave out --use_cache"):
        CachingLM(model, str(tmp_path / "cache.db"))


def test_the_validation_split_is_read_and_the_test_split_only_when_said(folder: Path) -> None:
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    searched, test = (read(loaded, folder, name) for name in ("local_arc", "local_arc,split=test"))
    assert [e.text for e in test.examples] == [e.text for e in searched.examples][::-1]
    assert "validation split, metric acc" in searched.notes[0]
    assert searched.chance is not None
    assert set(searched.chance) == {0.25}


def test_a_task_with_only_a_test_split_is_not_searched_unless_said(folder: Path, tmp_path: Path) -> None:
    said = yaml.safe_load((folder / "boolq.yaml").read_text())
    del said["validation_split"]
    (tmp_path / "only.yaml").write_text(yaml.safe_dump({**said, "task": "only"}))
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    with pytest.raises(DataError, match=r"only a test split.*say harness:only,split=test to divide it"):
        read(loaded, tmp_path, "only")
    assert len(read(loaded, tmp_path, "only,split=test").examples) == 24


def test_the_gold_answers_likelihood_as_score(folder: Path) -> None:
    loaded = LoadedModel(tiny("llama"), word_tokenizer())
    task = read(loaded, folder, "local_arc,metric=acc_norm", score="likelihood")
    scores = evaluate(loaded.model, task, [Plan.full(4)])
    assert task.metric.kind == "error"
    assert np.array_equal(scores.values, scores.log_likelihoods)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "local_arcs",
            r"lm-eval has no task 'local_arcs'; did you mean 'local_arc'\? known: .*, \.\.\. \(\d+ in all\)",
        ),
        ("local_arc,metrics=acc", r"'metrics=acc' is no option=value; did you mean 'metric'\?"),
        ("local_arc,metric=f1", "task 'local_arc' has no metric 'f1'; known: acc, acc_norm"),
        ("local_arc,filter=strict", "task 'local_arc' has no filter 'strict'; known: none"),
        ("local_last_word,metric=perplexity", "falls as answers get better"),
        ("local_arc,split=train", "the data set has no split 'train'; known: test, validation"),
    ],
)
def test_requests_that_do_not_fit(folder: Path, name: str, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        read(LoadedModel(tiny("llama"), word_tokenizer()), folder, name)


def test_a_run_from_the_search_to_the_verdict(folder: Path, tmp_path: Path) -> None:
    info = tapioca.prune(
        tiny("llama"),
        word_tokenizer(),
        task="harness:local_arc",
        include_path=str(folder),
        score="likelihood",
        random_plans=2,
        max_drops=1,
        progress=False,
        out=tmp_path / "run",
    )
    assert info.checks["ood"].n_search == 12
    assert any("lm-eval's validation split" in note for note in info.notes)
