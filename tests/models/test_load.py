"""Loading keeps the dtype, trusts nothing, and says clearly what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tapioca
from tapioca.errors import ModelError
from tapioca.models.identity import hash_model
from tapioca.models.load import load, load_on_meta
from tapioca.models.tiny import tiny


def test_dtype_and_tokenizer_are_the_checkpoints(model_folder: Path, tmp_path: Path) -> None:
    model, tokenizer = tapioca.load(model_folder)
    assert model.dtype == torch.float32
    assert tokenizer is not None
    tiny("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    model, tokenizer = tapioca.load(tmp_path)
    assert model.dtype == torch.bfloat16
    assert tokenizer is None
    assert not model.training
    assert tapioca.load(tmp_path, dtype="float32").model.dtype == torch.float32


def test_model_hashes_tell_models_apart() -> None:
    assert hash_model(tiny("llama", seed=1)) == hash_model(tiny("llama", seed=1))
    assert hash_model(tiny("llama", seed=1)) != hash_model(tiny("llama", seed=2))
    assert hash_model(tiny("llama", seed=1).to(torch.bfloat16)) != hash_model(tiny("llama", seed=1))


def broken(source: Path, target: Path, what: str) -> Path:
    """A copy of a model folder with one thing wrong."""
    shutil.copytree(source, target)
    if what == "no config":
        (target / "config.json").unlink()
    elif what == "no weights":
        (target / "model.safetensors").unlink()
    elif what == "pickle":
        (target / "model.safetensors").rename(target / "pytorch_model.bin")
    elif what == "torn":
        (target / "model.safetensors").write_bytes((target / "model.safetensors").read_bytes()[:1000])
    elif what == "missing":
        weights = load_file(target / "model.safetensors")
        del weights["model.layers.2.mlp.up_proj.weight"]
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    elif what == "shape":
        config = json.loads((target / "config.json").read_text())
        (target / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    elif what == "type":
        (target / "config.json").write_text('{"model_type": "unheard_of"}')
    return target


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "a folder without config.json"),
        ("no weights", "has no weights"),
        ("pickle", r"only pytorch_model\.bin, which may run code when read"),
        ("torn", "cannot load the weights"),
        ("missing", r"missing keys: model\.layers\.2\.mlp\.up_proj\.weight"),
        ("shape", "cannot load the weights|do not match the architecture"),
        ("type", "cannot load .*unheard_of"),
    ],
)
def test_broken_folders(what: str, message: str, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        tapioca.load(broken(model_folder, tmp_path / "m", what))
    assert "\n" not in str(caught.value)


def test_names_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("no/such-model", "./not/here", "nope"):
        with pytest.raises(ModelError, match="neither a folder here nor a hub model"):
            tapioca.load(name)


def test_an_unknown_dtype() -> None:
    with pytest.raises(ModelError, match="unknown dtype 'float3'"):
        tapioca.load("x", dtype="float3")


@pytest.mark.parametrize("field", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("name", ["owner/kernel", "kernels-community/flash-attn:entry", {"": "owner/kernel@v1"}])
def test_attention_from_the_hub_is_code(field: str, name: object, model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, field: name}))
    for use in (load, load_on_meta):
        with pytest.raises(
            ModelError, match=r"m/config\.json asks for the attention of '.*', which is code; leave attn_impl"
        ):
            use(tmp_path / "m")


CODE = "from pathlib import Path\nPath(__file__).resolve().with_name('ran').touch()\nPath('ran').touch()\ndef generate(*a, **k): pass\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("custom_generate/generate.py", CODE),
        ("modeling_llama.py", CODE),
        ("conftest.py", CODE),
        ("sitecustomize.py", CODE),
        ("torch.py", CODE),
        ("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "modeling_llama.Module"}]'),
        ("tokenizer.pkl", "cos\nsystem\n(S'touch ran'\ntR."),
        ("pytorch_model.bin", "cos\nsystem\n(S'touch ran'\ntR."),
        ("generation_config.json", '{"custom_generate": "custom_generate", "do_sample": false}'),
    ],
)
def test_no_file_of_a_model_runs_code(
    name: str, content: str, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model_folder, tmp_path / "m")
    (tmp_path / "m" / "custom_generate").mkdir()
    (tmp_path / "m" / "modeling_llama.py").write_text(CODE)
    (tmp_path / "m" / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    loaded = load(tmp_path / "m")
    assert loaded.tokenizer is not None
    loaded.model.generate(torch.tensor([[1, 3]]), max_new_tokens=1, do_sample=False, pad_token_id=0)
    assert not list(tmp_path.rglob("ran"))
