"""Plans leave models where they are: spread by accelerate, offloaded to disk, quantised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

import tapioca
from tapioca.errors import ExportError, ModelError
from tapioca.models.edit import apply
from tapioca.models.identity import hash_model
from tapioca.models.inputs import collate, find_input_device, run_forward
from tapioca.models.load import load_on_meta
from tapioca.models.tiny import tiny
from tapioca.plan import Plan

PROMPTS = [tuple(range(3, 20)), tuple(range(5, 12))]
PLANS = [Plan.drop(4, [0, 2]), Plan(n_layers=4, layers={1: 0.0, 3: 0.5}, attention={2: 0.0}, mlp={0: 0.3})]
SETTINGS = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
OUTSIDE = ("model.embed_tokens", "model.norm", "lm_head", "model.rotary_emb")
MAPS = {
    "half on disk": {
        **dict.fromkeys(OUTSIDE, "cpu"),
        **{f"model.layers.{at}": ("cpu", "disk")[at // 2] for at in range(4)},
    },
    "all on disk": {**dict.fromkeys(OUTSIDE, "disk"), "model.rotary_emb": "cpu", "model.layers": "disk"},
}


def answers(model: PreTrainedModel, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    batch = collate(model, PROMPTS)
    with apply(model, plan):
        tokens = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], **SETTINGS)
        return run_forward(model, batch, keep=4), tokens


@pytest.mark.filterwarnings("ignore:You are calling .generate")  # its own words for weights on disk
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_moe"])
@pytest.mark.parametrize("places", MAPS)
def test_an_offloaded_model_stays_where_it_is(name: str, places: str, tmp_path: Path) -> None:
    tiny(name).save_pretrained(tmp_path / "full")
    here = AutoModelForCausalLM.from_pretrained(tmp_path / "full")
    away = AutoModelForCausalLM.from_pretrained(
        tmp_path / "full", device_map=MAPS[places], offload_folder=tmp_path / "offload"
    )
    where = {path: parameter.device.type for path, parameter in away.named_parameters()}
    assert "meta" in where.values()
    for plan in PLANS:
        assert all(map(torch.equal, answers(away, plan), answers(here, plan)))
    after = {path: parameter.device.type for path, parameter in away.named_parameters()}
    assert where.items() <= after.items()  # accelerate itself unties an offloaded head
    assert find_input_device(away).type == "cpu"
    assert hash_model(away) == hash_model(here)


def test_auto_places_a_model_with_accelerate(model_folder: Path) -> None:
    loaded = tapioca.load(model_folder, device="auto")
    assert hash_model(loaded.model) == hash_model(tapioca.load(model_folder, device="cpu").model)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_model_stays_as_it_is(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path / "full")
    eight_bits = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "full", quantization_config=eight_bits, device_map="cpu")
    before, digest = answers(model, Plan.full(4)), hash_model(model)
    kinds = {path: type(module) for path, module in model.named_modules()}
    for plan in PLANS:
        assert (answers(model, plan)[0] - before[0]).abs().max() > 0.01
    assert all(map(torch.equal, answers(model, Plan.full(4)), before))
    assert {path: type(module) for path, module in model.named_modules()} == kinds
    assert hash_model(model) == digest
    assert tapioca.export(model, tmp_path / "pruned", Plan.drop(4, [1])).difference == 0
    with pytest.raises(ExportError, match="quantised, so neither scales nor maps can be written into them"):
        tapioca.export(model, tmp_path / "scaled", Plan.scale(4, {1: 0.5}, "mlp"))


def test_a_model_without_weights_has_no_hash(model_folder: Path) -> None:
    with pytest.raises(ModelError, match="on the meta device and cannot be read"):
        hash_model(load_on_meta(model_folder))
