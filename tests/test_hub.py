"""Models and data sets by their hub id, through the real clients against a hub on loopback; and what a hub refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import disable_progress_bars
from support.hub import Client, Hub, serving
from support.rows import choice_rows

disable_progress_bars()

LM_EVAL = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{context}}",
    "doc_to_target": "answer",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
FAULTS = ("gated", "not listed", "disabled", "broken", "torn", "torn for good")


def name_of(fault: str) -> str:
    return f"own/{fault.replace(' ', '-')}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[Hub]:
    """A hub with a model, data sets, and one repository of each kind for every fault."""
    rows = choice_rows(48)
    with serving(tmp_path_factory.mktemp("hub")) as hub:
        hub.push("models", "own/model", model_folder)
        hub.push_rows("own/data", {"default": {"train": rows, "validation": rows}})
        hub.push_rows("own/tests", {"default": {"test": rows}})
        hub.push_rows("own/many", {"a": {"train": rows}, "b": {"test": rows}})
        for fault in FAULTS:
            hub.push("models", name_of(fault), model_folder)
            hub.push_rows(name_of(fault), {"default": {"validation": rows}})
            hub.faults[name_of(fault)] = fault
        yield hub


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of lm-eval over those data sets."""
    folder = tmp_path_factory.mktemp("tasks")
    data = {
        "data": {"dataset_path": "own/data", "validation_split": "validation"},
        "gated": {"dataset_path": "own/gated", "validation_split": "validation"},
        "none": {"dataset_path": "own/none", "validation_split": "validation"},
        "torn": {"dataset_path": "own/torn-for-good", "validation_split": "validation"},
        "many": {"dataset_path": "own/many", "validation_split": "train"},
        "old": {"dataset_path": "own/data", "validation_split": "dev", "dataset_kwargs": {"revision": "v0"}},
        "no_test": {"dataset_path": "own/data", "validation_split": "validation", "test_split": "test"},
        "no_dev": {"dataset_path": "own/data", "validation_split": "dev"},
        "no_train": {"dataset_path": "own/tests", "training_split": "train", "test_split": "test"},
    }
    for name, said in data.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**LM_EVAL, **said, "task": name}))
    return folder


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(tmp_path_factory.mktemp("home"), hub.url)
    yield client
    client.close()


GATED = "is gated: Access to {} {} is restricted. You must have access to it and be authenticated to access it. Please log in; accept its terms at https://huggingface.co/{}{}, then log in with 'hf auth login'"
BROKEN = "was fetched (peer closed connection without sending complete message body"
NOBODY = "that you may see; check the name, and for a private one log in with 'hf auth login'"
REFUSED: dict[str, tuple[str, str, str]] = {
    "a gated model": ("own/gated", "hub:own/data", "the model 'own/gated' " + GATED.format("model", "own/gated", "", "own/gated")),
    "gated data": ("own/model", "hub:own/gated", "the data set 'own/gated' " + GATED.format("dataset", "own/gated", "datasets/", "own/gated")),
    "a gated task": ("own/model", "harness:gated", "lm-eval cannot load 'gated': the data set 'own/gated' " + GATED.format("dataset", "own/gated", "datasets/", "own/gated")),
    "a model for others": ("own/not-listed", "hub:own/data", "the model 'own/not-listed' is gated: Access to model own/not-listed is restricted and you are not in the authorized list."),
    "data for others": ("own/model", "hub:own/not-listed", "the data set 'own/not-listed' is gated: Access to dataset own/not-listed is restricted and you are not in the authorized list."),
    "a disabled model": ("own/disabled", "hub:own/data", "the hub has disabled the model 'own/disabled' (https://huggingface.co/own/disabled); use another one"),
    "disabled data": ("own/model", "hub:own/disabled", "the hub has disabled the data set 'own/disabled' (https://huggingface.co/datasets/own/disabled); use"),
    "no model": ("own/none", "hub:own/data", f"no model 'own/none': neither a folder here nor a hub model {NOBODY}"),
    "no data": ("own/model", "hub:own/none", f"no data set 'own/none': neither a folder here nor a hub data set {NOBODY}"),
    "no data of a task": ("own/model", "harness:none", f"lm-eval cannot load 'none': no data set 'own/none': neither a folder here nor a hub data set {NOBODY}"),
    "no name of a model": ("own/a/b", "hub:own/data", "no model 'own/a/b': neither a folder here nor a hub model, whose names are OWNER/NAME"),
    "no name of data": ("own/model", "hub:own/da ta", "no data set 'own/da ta': neither a folder here nor a hub data set, whose names are OWNER/NAME"),
    "no name at all": ("own/model", "hub:", "'hub:' names no data set; expected hub:ID, for instance hub:google/boolq"),
    "a revision of data": ("own/model", "hub:own/data,revision=v0", "the data set 'own/data' has no revision 'v0'; its branches, tags and commits are at https://huggingface.co/datasets/own/data/tree/main"),
    "a revision of a task": ("own/model", "harness:old", "lm-eval cannot load 'old': the data set 'own/data' has no revision 'v0'; its branches"),
    "no configuration": ("own/model", "hub:own/many", "which configuration of the data set 'own/many'? say hub:own/many,name=... (in a YAML of lm-eval's, dataset_name); known: a, b"),
    "a wrong configuration": ("own/model", "hub:own/many,name=c", "which configuration of the data set 'own/many'? say"),
    "no configuration of a task": ("own/model", "harness:many", "lm-eval cannot load 'many': which configuration of the data set 'own/many'?"),
    "only a test split": ("own/model", "hub:own/tests", "hub:own/tests: which split? say hub:own/tests,split=...; known: test"),
    "a wrong split": ("own/model", "hub:own/many,name=b,split=dev", "hub:own/many,name=b: the data set has no split 'dev'; known: test"),
    "a task without its test split": ("own/model", "harness:no_test", "no_test: the data set has no split 'test'; known: train, validation"),
    "a task without its validation split": ("own/model", "harness:no_dev", "no_dev: the data set has no split 'dev'; known: train, validation"),
    "a task without its training split": ("own/model", "harness:no_train", "no_train: the data set has no split 'train'; known: test"),
    "torn data": ("own/model", "hub:own/torn-for-good", f"the connection broke while the data set 'own/torn-for-good' {BROKEN}"),
    "torn data of a task": ("own/model", "harness:torn", f"lm-eval cannot load 'torn': the connection broke while the data set 'own/torn-for-good' {BROKEN}"),
    "a hub in trouble": ("own/broken", "hub:own/data", "the hub refused the model 'own/broken' (500: Internal Error"),
    "a hub in trouble with data": ("own/model", "hub:own/broken", "the hub refused the data set 'own/broken' (500: Internal Error"),
}  # fmt: skip
"""Model, data and the one line that comes of them."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_hub_refuses(case: str, client: Client, tasks: Path) -> None:
    model, data, message = REFUSED[case]
    found_in = ("--include-path", str(tasks)) if data.startswith("harness:") else ()
    done = client.run("tasks", data, "--model", model, *found_in)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}"), done.err
    assert done.err.count("\n") == 1


def test_a_wrong_revision_of_a_model(client: Client) -> None:
    done = client.run("tasks", "hub:own/data", "--model", "own/model", "--revision", "v0")
    assert done.code == 2
    assert done.err.startswith(
        "error: the model 'own/model' has no revision 'v0'; its branches, tags and commits are at"
    )


def test_weights_that_break_off(client: Client, hub: Hub) -> None:
    sent = []
    for _ in range(2):
        done = client.run("prune", name_of("torn for good"), "--task", "hub:own/data")
        assert done.code == 2
        assert f"the connection broke while the model 'own/torn-for-good' {BROKEN}" in done.err
        assert done.err.endswith("run the same again: files that came whole are kept\n")
        files = {Path(path).name: count for path, count in hub.sent.items() if "own/torn-for-good/" in path}
        sent.append((files["config.json"], files["model.safetensors"]))
    assert sent[1] == (sent[0][0], 2 * sent[0][1])  # of a file that broke off nothing is kept


def test_what_comes_after_all_is_used(client: Client, tmp_path: Path) -> None:
    said = ("--random-plans", "1", "--score", "likelihood", "--out", str(tmp_path))
    done = client.run("prune", name_of("torn"), "--task", "hub:own/torn,revision=main", *said)
    assert done.code == 0, done.err
    assert (tmp_path / "plan.json").is_file()
    assert "%|" not in done.out + done.err  # nobody else's progress bar


def test_tasks_of_lm_eval_come_through_the_hub(client: Client, tasks: Path) -> None:
    done = client.run("tasks", "harness:data", "--model", "own/model", "--include-path", str(tasks))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("harness:data: 48 examples, measured by accuracy, chance 25.0 %\n")


@pytest.fixture
def offline(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, which is offline, with what the client has downloaded."""
    client.lend_cache(monkeypatch)


@pytest.mark.usefixtures("offline")
def test_offline_there_is_what_was_downloaded(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    from tapioca.cli.main import main

    command = ["tasks", "hub:own/data", "--model", "own/model"]
    online = client.run(*command)
    assert online.code == 0, online.err
    assert main(command) == 0
    assert capsys.readouterr().out.replace("─", "") == online.out.replace("─", "")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(("model", "data", "what"), [("own/far", "hub:own/data", "model 'own/far'"), ("own/model", "hub:own/far", "data set 'own/far'")])  # fmt: skip
def test_offline_there_is_nothing_else(model: str, data: str, what: str, client: Client, capsys: Any) -> None:
    from tapioca.cli.main import main

    assert client.run("tasks", "hub:own/data", "--model", "own/model").code == 0
    assert main(["tasks", data, "--model", model]) == 2
    kind = what.partition(" '")[0]
    assert capsys.readouterr().err == (
        f"error: no {what}: neither a folder here nor a hub {kind} that was downloaded before, and HF_HUB_OFFLINE is set; "
        "unset it, or run once with it unset\n"
    )


def test_a_hub_that_is_down(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2
    from huggingface_hub import constants

    from tapioca.hub import explain_hub_error

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    error = httpx2.ConnectError("[Errno 111] Connection refused")
    assert explain_hub_error(error, "model", "own/model") == (
        "cannot reach the hub at http://127.0.0.1:9 for the model 'own/model' ([Errno 111] Connection refused); "
        "check the connection, and HF_ENDPOINT if you set it"
    )
