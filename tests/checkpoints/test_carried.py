"""What a checkpoint takes along from its source: an adapter, merged; and Python code that comes with the model."""

from __future__ import annotations

import json
from inspect import getfile
from pathlib import Path

import pytest
import torch
from support.rows import choice_rows, write_lines
from support.words import WORDS, word_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

import tapioca
from tapioca.checkpoints.cut import cut_checkpoint
from tapioca.cli.main import main
from tapioca.commands.inspect.config import InspectConfig
from tapioca.commands.inspect.run import inspect_model
from tapioca.errors import DataError, ExportError, ModelError
from tapioca.models.edit import apply
from tapioca.models.identity import hash_model
from tapioca.models.inputs import check_ids
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

IDS = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(1))
PLAN = Plan.drop(4, [1])
MODELING = """
from transformers import LlamaForCausalLM
from .configuration_own import OwnConfig
from .scale_own import SCALE


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, *args, **kwargs):
        outputs = super().forward(*args, **kwargs)
        outputs.logits = outputs.logits * SCALE
        return outputs
"""
TOKENIZATION = """
from pathlib import Path

from transformers import PreTrainedTokenizer


class OwnTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"words_file": "own.words"}

    def __init__(self, words_file, **kwargs):
        self.words = Path(words_file).read_text().split()
        super().__init__(unk_token="<unk>", pad_token="<s>", **kwargs)

    vocab_size = property(lambda self: len(self.words))

    def get_vocab(self):
        return {word: number for number, word in enumerate(self.words)}

    def _tokenize(self, text):
        return text.split()

    def _convert_token_to_id(self, token):
        return self.words.index(token) if token in self.words else 0

    def _convert_id_to_token(self, index):
        return self.words[index]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A model that brings its own code: a Llama with halved logits, and a tokenizer with a vocabulary file of its own."""
    folder = tmp_path / "own"
    tiny("llama").save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    config |= {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_own.py").write_text(
        'from transformers import LlamaConfig\n\n\nclass OwnConfig(LlamaConfig):\n    model_type = "own"\n'
    )
    (folder / "modeling_own.py").write_text(MODELING)
    (folder / "scale_own.py").write_text("SCALE = 0.5\n")
    (folder / "tokenization_own.py").write_text(TOKENIZATION)
    (folder / "own.words").write_text(" ".join(WORDS))
    auto_map = {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "OwnTokenizer", "auto_map": auto_map}))
    return folder


def test_code_of_a_model_runs_only_where_it_is_allowed(own: Path, tmp_path: Path) -> None:
    for refused in (
        lambda: tapioca.load(own),
        lambda: inspect_model(InspectConfig(model=str(own))),
        lambda: tapioca.export(own, tmp_path / "out", PLAN),
    ):
        with pytest.raises(
            ModelError, match="needs code that comes with it; read the code, then add --trust-remote-code"
        ):
            refused()


@pytest.mark.filterwarnings("ignore")
def test_a_run_with_code_and_an_adapter_is_exported_with_both(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peft = pytest.importorskip("peft", reason="the extra heal (peft) is not installed")
    settings = peft.LoraConfig(target_modules=["q_proj", "down_proj"], r=4, init_lora_weights=False)
    trained = peft.get_peft_model(tapioca.load(own, trust_remote_code=True).model, settings)
    trained.save_pretrained(tmp_path / "ad")
    write_lines(tmp_path / "t.jsonl", choice_rows(40))
    monkeypatch.chdir(tmp_path)
    few = ["--score", "likelihood", "--random-plans", "1", "--max-drops", "1"]
    prune = ["prune", "own", "--task", "t.jsonl", "--out", "run", *few]
    for options, message in (
        (["--adapter", "ad"], "'own' needs code that comes with it; read the code, then add --trust-remote-code"),
        (
            ["--adapter", "gone", "--trust-remote-code"],
            "no adapter at gone: expected a folder with adapter_config.json",
        ),
    ):
        assert main([*prune, *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*prune, "--adapter", "ad", "--trust-remote-code"]) == 0
    (tmp_path / "plan.json").write_text(PLAN.to_json())
    capsys.readouterr()
    assert main(["export", "run", "--to", "out", "--plan", "plan.json"]) == 0
    assert "reloaded by transformers with trust_remote_code=True in a fresh process" in capsys.readouterr().out
    assert not list(Path("out").glob("adapter*"))
    assert {path.name for path in Path("out").glob("*.py")} == {path.name for path in own.glob("*.py")}
    card = Path("out/README.md").read_text()
    assert "The adapter ad was merged into the weights first." in card
    assert "It loads with `trust_remote_code=True`" in card
    plain = AutoModelForCausalLM.from_pretrained("out", trust_remote_code=True)
    model = trained.merge_and_unload().eval()
    with apply(model, PLAN), torch.inference_mode():
        expected = model(IDS).logits
        torch.testing.assert_close(plain(IDS).logits, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(model.lm_head(model.model(IDS)[0]) * 0.5, expected)  # what its own code does
    words = AutoTokenizer.from_pretrained("out", trust_remote_code=True)
    assert words("the cat sat", add_special_tokens=False)["input_ids"] == [3, 5, 7]


def test_a_tokenizer_with_code_alone_asks_for_the_flag(own: Path) -> None:
    tiny("llama").save_pretrained(own)
    with pytest.raises(
        ModelError, match=r"own' needs code that comes with it; read the code, then add --trust-remote-"
    ):
        tapioca.load(own)


def test_a_hash_knows_the_code(own: Path) -> None:
    model = tapioca.load(own, trust_remote_code=True).model
    before = hash_model(model)
    Path(getfile(type(model))).with_name("scale_own.py").write_text("SCALE = 2.0\n")
    assert before != hash_model(model)


def test_a_native_model_whose_config_names_code_loads_either_way(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "full")
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    auto_map = {
        "AutoConfig": "configuration_llama.LlamaConfig",
        "AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM",
    }
    (tmp_path / "full" / "config.json").write_text(json.dumps({**config, "auto_map": auto_map}))
    left_out = cut_checkpoint(tmp_path / "full", tmp_path / "out", PLAN, tapioca.load(tmp_path / "full").model)
    assert left_out == ("auto_map of config.json, which names code that is not in the checkpoint",)
    for trust in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=trust)
        assert model.config.num_hidden_layers == 3


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_in_the_exported_weights(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the extra heal (peft) is not installed")
    tiny("llama").save_pretrained(tmp_path / "base")
    word_tokenizer().save_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(target_modules=["q_proj", "down_proj"], r=4, init_lora_weights=False)
    peft.get_peft_model(tiny("llama"), settings).save_pretrained(tmp_path / "ad")
    done = tapioca.export(tmp_path / "base", tmp_path / "out", PLAN, adapter=tmp_path / "ad")
    assert done.difference == 0
    assert not list((tmp_path / "out").glob("adapter*"))
    assert "The adapter ad was merged into the weights first." in (tmp_path / "out" / "README.md").read_text()
    assert AutoTokenizer.from_pretrained(tmp_path / "out").encode("the cat") == [1, 3, 5]
    merged = tapioca.load(tmp_path / "base", adapter=tmp_path / "ad").model
    with apply(merged, PLAN), torch.inference_mode():
        expected = merged(IDS).logits
    with torch.inference_mode():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(IDS).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("largest", [128, 200])
def test_a_token_without_an_embedding(largest: int) -> None:
    check_ids(tiny("llama"), 127, "x")
    with pytest.raises(
        DataError,
        match=rf"^t\.jsonl holds token id {largest}, but the model's embedding has 128 rows \(ids 0 to 127\); use the "
        r"tokenizer the model was trained with, or resize the embedding \(resize_token_embeddings\) and train it$",
    ):
        check_ids(tiny("llama"), largest, "t.jsonl")


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    from tapioca.checkpoints.verify import check_tokenizer

    for name in ("full", "out"):
        word_tokenizer().save_pretrained(tmp_path / name)
        tiny("llama").config.save_pretrained(tmp_path / name)
    check_tokenizer(tmp_path / "full", tmp_path / "out", code=False)
    word_tokenizer(bos=False).save_pretrained(tmp_path / "out")
    with pytest.raises(
        ExportError, match="the tokenizer of the exported checkpoint does not read as that of the model"
    ):
        check_tokenizer(tmp_path / "full", tmp_path / "out", code=False)
