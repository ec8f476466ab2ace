"""An adapter is merged exactly or refused, and never mistaken for a model or left out without a word."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.rows import choice_rows
from support.words import word_tokenizer
from transformers import BitsAndBytesConfig, PreTrainedModel

import tapioca
from tapioca.commands.inspect.config import InspectConfig
from tapioca.commands.inspect.run import inspect_model
from tapioca.errors import ModelError, UsageError
from tapioca.models.adapters import CONFIG, NOT_MERGED, WEIGHTS, check_adapter, merge_adapter
from tapioca.models.identity import hash_model
from tapioca.models.tiny import tiny

peft = pytest.importorskip("peft", reason="the extra heal (peft) is not installed")

IDS = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(1))


def train(model: PreTrainedModel, folder: Path, **fields: Any) -> torch.Tensor:
    """Save an adapter with random weights, and give what the model answers with it."""
    fields = {"target_modules": ["q_proj", "down_proj"], "r": 4, "init_lora_weights": False, **fields}
    with warnings.catch_warnings(action="ignore"), torch.inference_mode():
        wrapped = peft.get_peft_model(model, peft.LoraConfig(**fields)).eval()
        wrapped.save_pretrained(folder)
        return wrapped(IDS).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A folder with an adapter of the base, and the answers with it."""
    folder = tmp_path_factory.mktemp("adapter")
    return folder, train(tiny("llama"), folder)


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def test_an_adapter_is_merged(base: Path, adapter: tuple[Path, torch.Tensor]) -> None:
    folder, answers = adapter
    plain = tapioca.load(base).model
    merged = tapioca.load(base, adapter=folder).model
    assert type(merged) is type(plain)
    assert float((logits(plain) - answers).abs().max()) > 0.5
    torch.testing.assert_close(logits(merged), answers, atol=2e-5, rtol=0)
    assert {name for name, _ in merged.named_parameters()} == {name for name, _ in plain.named_parameters()}
    assert merged.name_or_path == str(base)
    assert hash_model(merged) == hash_model(tapioca.load(base, adapter=folder).model) != hash_model(plain)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("llama", {"use_rslora": True, "target_modules": "all-linear"}),
        ("llama", {"modules_to_save": ["lm_head", "embed_tokens"]}),
        ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
        ("llama", {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 3}, "layers_to_transform": [1, 2]}),
        ("llama", {"trainable_token_indices": [4, 5]}),
        ("gpt2", {"target_modules": ["c_attn"], "bias": "all", "fan_in_fan_out": True}),
        ("qwen3_moe", {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.down_proj"]}),
        ("gemma2", {"target_modules": ["o_proj", "up_proj"]}),
    ],
)
def test_kinds_of_lora_that_are_sums_of_weights(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    model = tiny(name)
    answers = train(model, tmp_path, **fields)
    torch.testing.assert_close(logits(merge_adapter(tiny(name), tmp_path)), answers, atol=5e-5, rtol=0)


def test_an_adapter_in_the_models_own_folder(base: Path, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(base, both)
    for name in (CONFIG, WEIGHTS):
        shutil.copy(adapter[0] / name, both)
    with pytest.raises(
        ModelError,
        match=r"both holds an adapter beside its base weights; add --adapter \S+both to merge it, "
        r"or move adapter_config\.json away to use the base alone$",
    ):
        tapioca.load(both)
    merged = tapioca.load(both, adapter=both).model
    torch.testing.assert_close(logits(merged), adapter[1], atol=2e-5, rtol=0)
    assert merged.name_or_path == str(both)
    (both / WEIGHTS).unlink()
    with pytest.raises(
        ModelError, match=r"holds adapter_config\.json without adapter_model\.safetensors; remove the file"
    ):
        tapioca.load(both)


@pytest.mark.parametrize("open_model", [tapioca.load, lambda name: inspect_model(InspectConfig(model=str(name)))])
def test_an_adapter_alone_names_its_base(open_model: Any, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    shutil.copytree(adapter[0], tmp_path / "ad")
    said = json.loads((tmp_path / "ad" / CONFIG).read_text())
    (tmp_path / "ad" / CONFIG).write_text(json.dumps({**said, "base_model_name_or_path": "org/base"}))
    with pytest.raises(
        ModelError, match=r"is an adapter, not a model; give its base \(org/base\) with --adapter \S+ad$"
    ):
        open_model(tmp_path / "ad")


def test_a_tokenizer_beside_the_adapter_is_used(base: Path, adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    shutil.copytree(adapter[0], tmp_path / "ad")
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(tmp_path / "ad")
    loaded = tapioca.load(base, adapter=tmp_path / "ad")
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.chat_template == tokenizer.chat_template


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[({field: True}, rf"is no plain LoRA \({field}: .+\), so it is not merged exactly") for field in NOT_MERGED],
        ({"peft_type": "IA3"}, "is an adapter of type IA3; only plain LoRA is merged exactly; merge it with peft"),
        ({"peft_type": "PROMPT_TUNING"}, "an adapter of type PROMPT_TUNING; only plain LoRA"),
        ({"peft_type": "LOHA"}, "an adapter of type LOHA; only plain LoRA"),
        ({"peft_type": None}, "an adapter of type NONE; only plain LoRA"),
    ],
)
def test_adapters_that_are_more_than_a_sum(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps({"peft_type": "LORA", **change}))
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match=message):
        check_adapter(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no adapter at \S+: expected a folder with adapter_config\.json and adapter_model\.safetensors"),
        ({CONFIG: "{}"}, r"has no weights; save the adapter as adapter_model\.safetensors"),
        ({CONFIG: "{}", "adapter_model.bin": ""}, r"has only adapter_model\.bin, which may run code when read"),
        ({CONFIG: "{", WEIGHTS: ""}, r"cannot read \S+adapter_config\.json"),
        ({CONFIG: "[]", WEIGHTS: ""}, r"cannot read \S+adapter_config\.json: it holds no JSON object"),
        ({CONFIG: '{"peft_type": "LORA"}', WEIGHTS: "x"}, "cannot merge"),
    ],
)
def test_folders_that_hold_no_adapter(files: dict[str, str], message: str, base: Path, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        tapioca.load(base, adapter=tmp_path)
    assert "\n" not in str(caught.value)


def test_adapters_of_other_models(adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="was trained on a LlamaForCausalLM, this model is a Qwen2ForCausalLM"):
        merge_adapter(tiny("qwen2"), adapter[0])
    folder = tmp_path / "ad"
    shutil.copytree(adapter[0], folder)
    weights = load_file(folder / WEIGHTS)
    first = next(iter(weights))
    save_file({name: tensor for name, tensor in weights.items() if name != first}, folder / WEIGHTS)
    with pytest.raises(ModelError, match="was trained on another model: one misses 1 of its weights"):
        merge_adapter(tiny("llama"), folder)
    save_file({**weights, first.replace("layers.0", "layers.9"): weights[first].clone()}, folder / WEIGHTS)
    with pytest.raises(
        ModelError, match=r"was trained on another model: one has no place for 1 of its weights \(.*layers\.9"
    ):
        merge_adapter(tiny("llama"), folder)
    save_file({**weights, first: weights[first][:, :-1].contiguous()}, folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"cannot merge .*: size mismatch for .*: copying a param with shape"):
        merge_adapter(tiny("llama"), folder)
    save_file({**weights, first: weights[first] * float("inf")}, folder / WEIGHTS)
    with pytest.raises(
        ModelError, match=r"ad merged into .* makes NaN or infinity of model\.layers\.0.*; train it anew$"
    ):
        merge_adapter(tiny("llama"), folder)


def test_an_update_of_few_digits_is_rounded_once(adapter: tuple[Path, torch.Tensor]) -> None:
    merged = merge_adapter(tiny("llama").bfloat16(), adapter[0])
    exact = merge_adapter(tiny("llama").bfloat16().float(), adapter[0]).bfloat16()
    for weights, expected in zip(merged.parameters(), exact.parameters(), strict=True):
        assert torch.equal(weights, expected)


def tied() -> PreTrainedModel:
    model = tiny("llama")
    model.config.tie_word_embeddings = True
    torch.manual_seed(3)
    return type(model)(model.config).eval()


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["lm_head", "q_proj"]},
    ],
)
def test_tied_embeddings_cannot_hold_an_update_of_one(fields: dict[str, Any], tmp_path: Path) -> None:
    train(tied(), tmp_path, **fields)
    with pytest.raises(ModelError, match="changes one of two tied embeddings, so it cannot be merged exactly"):
        merge_adapter(tied(), tmp_path)


def test_a_quantised_base(adapter: tuple[Path, torch.Tensor]) -> None:
    model = tiny("llama")
    model.config.quantization_config = BitsAndBytesConfig(load_in_4bit=True)
    with pytest.raises(
        ModelError, match="is quantised, so the adapter cannot be merged exactly; give the base in its full"
    ):
        merge_adapter(model, adapter[0])


def test_without_peft_the_cure_is_named(
    base: Path, adapter: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ModelError, match=r"--adapter needs peft; pip install 'tapioca-prune\[heal\]'"):
        merge_adapter(tiny("llama"), adapter[0])


def test_a_model_by_name_takes_an_adapter_and_rows_in_memory(base: Path, adapter: tuple[Path, torch.Tensor]) -> None:
    session = tapioca.Session(base, task=choice_rows(40), adapter=adapter[0], score="likelihood", progress=False)
    assert session.inputs.model_hash == hash_model(tapioca.load(base, adapter=adapter[0]).model)


@pytest.mark.filterwarnings("ignore")
def test_live_models_are_merged_by_their_owner(adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    plan = tapioca.Plan.drop(4, [1])
    wrapped = peft.PeftModel.from_pretrained(tiny("llama"), str(adapter[0]))
    with pytest.raises(
        UsageError, match=r"this is a PeftModel; merge a model of peft first, with merge_and_unload\(\)"
    ):
        tapioca.export(wrapped, tmp_path / "out", plan)
    model = tiny("llama")
    model.load_adapter(str(adapter[0]))
    with pytest.raises(UsageError, match="the model carries an adapter; merge it into the weights first"):
        tapioca.export(model, tmp_path / "out", plan)
    with pytest.raises(UsageError, match="a live model takes no adapter; merge it into the weights first"):
        tapioca.prune(tiny("llama"), word_tokenizer(), task="x", adapter=adapter[0], progress=False)
    assert list(tmp_path.iterdir()) == []
